"""Messages about last numbers; test_messages.py packs and unpacks them."""

from django_etp.cluster.messages import pack, unpack
from django_etp.cluster.numbers import Numbers


def test_numbers_of_an_older_version_have_no_ages_and_are_an_announcement():
    assert unpack({"type": "etp.numbers", "v": 1, "streams": []}) == Numbers([], ages=[], asked=0, is_relayed=False)


def test_a_process_of_an_older_version_finds_its_keys():
    assert pack(Numbers([["g", "h.1", 1.5, 2, 3]], [7.5]))["streams"] == [["g", "h.1", 1.5, 2, 3]]
