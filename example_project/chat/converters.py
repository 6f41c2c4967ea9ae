"""The path converter of rooms, for the URLs of pages and the names of declared rooms alike."""

from django.urls import register_converter

from .rooms import Room


class RoomConverter:
    regex = "|".join(Room.values)

    def to_python(self, value: str) -> Room:
        return Room(value)

    def to_url(self, value: Room | str) -> str:
        return Room(value).value


register_converter(RoomConverter, "room")
