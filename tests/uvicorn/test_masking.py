"""The mask of a client's payload, removed."""

import pytest

from django_etp.uvicorn.masking import mask_in_python, unmask

MASK = b"\x01\x80\xff\x2a"


@pytest.mark.parametrize("remove", [unmask, mask_in_python])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 8, 63, 64, 65, 1000])
def test_each_byte_is_xored_with_the_mask_in_turn(remove, size):
    data = bytes(number % 251 for number in range(size))
    expected = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(data))
    for kind in (bytes, bytearray, memoryview):
        assert remove(kind(data), MASK) == expected
    assert remove(data, bytearray(MASK)) == expected
