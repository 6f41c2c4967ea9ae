"""The kinds of channel layers, and the work that this package has to do itself for each."""

from channels.layers import InMemoryChannelLayer, channel_layers

__all__ = ["confirms_joins", "has_one_server", "is_pubsub"]

_REDIS = "channels_redis.core.RedisChannelLayer"
_PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


def confirms_joins(layer: object) -> bool:
    """Return whether ``group_add`` returns only once the broker has executed the join."""
    return isinstance(layer, InMemoryChannelLayer) or _is_a(layer, _REDIS)


def is_pubsub(layer: object) -> bool:
    """Return whether a layer keeps no messages and no groups in the broker, but one connection that subscribes."""
    return _is_a(layer, _PUBSUB)


def has_one_server(alias: str) -> bool:
    """Return whether a layer's ``CONFIG`` names at most one server."""
    config = channel_layers.configs.get(alias, {}).get("CONFIG") or {}
    hosts = config.get("hosts")
    return not hosts or isinstance(hosts, str) or (isinstance(hosts, list | tuple) and len(hosts) == 1)


def _is_a(layer: object, name: str) -> bool:
    # By name: channels_redis need not be installed.
    return any(f"{kind.__module__}.{kind.__qualname__}" == name for kind in type(layer).__mro__)
