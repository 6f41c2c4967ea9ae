"""Django signals about users. They cost nothing while nothing is connected to them.

Receivers get ``sender``, the user model, and ``user_id``, the primary key of the user, or the name of the user in the
site if tenants have users of their own. Plain functions run in a thread and may use the ORM.
"""

from django.dispatch import Signal

__all__ = ["user_offline", "user_online"]

# The first connection of a user was accepted, in any process. One process sends it, about a second later.
user_online = Signal()
# The last connection of a user has ended, in all processes, and the user did not return within PRESENCE_GRACE.
user_offline = Signal()
