"""Rooms: send events to the connections in them, and list their members, from anywhere in a process.

``from django_etp import rooms`` gives the rooms of the namespace ``"default"``; ``rooms.of(namespace)`` those of
another. Each call has an ``a``-prefixed coroutine twin with the same arguments: ``await`` that in async code, and call
the bare one from synchronous code. A bare call on a thread with a running event loop raises ``SyncCallInEventLoop``.
"""

from .api import ConnectionInfo, RoomReply, Rooms, of
from .presence import Present

__all__ = ["ConnectionInfo", "Present", "RoomReply", "Rooms", "of"]

_default = of("default")
group_name, user = _default.group_name, _default.user
emit, aemit = _default.emit, _default.aemit
emit_on_commit, aemit_on_commit = _default.emit_on_commit, _default.aemit_on_commit
broadcast, abroadcast = _default.broadcast, _default.abroadcast
emit_to, aemit_to = _default.emit_to, _default.aemit_to
emit_with_ack, aemit_with_ack = _default.emit_with_ack, _default.aemit_with_ack
emit_to_with_ack, aemit_to_with_ack = _default.emit_to_with_ack, _default.aemit_to_with_ack
data, adata = _default.data, _default.adata
update_data, aupdate_data = _default.update_data, _default.aupdate_data
join, ajoin = _default.join, _default.ajoin
leave, aleave = _default.leave, _default.aleave
recheck, arecheck = _default.recheck, _default.arecheck
clear, aclear = _default.clear, _default.aclear
count, acount = _default.count, _default.acount
names, anames = _default.names, _default.anames
members, amembers = _default.members, _default.amembers
connections, aconnections = _default.connections, _default.aconnections
connection_ids, aconnection_ids = _default.connection_ids, _default.aconnection_ids
present, apresent = _default.present, _default.apresent
is_online, ais_online = _default.is_online, _default.ais_online
get, aget = _default.get, _default.aget
disconnect, adisconnect = _default.disconnect, _default.adisconnect
shutdown, ashutdown = _default.shutdown, _default.ashutdown
