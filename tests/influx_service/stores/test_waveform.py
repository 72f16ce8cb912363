"""The sample encoding and the time grid, away from any engine."""

import struct
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influx_service.stores.waveform import decode, encode, first_index, sample_time

finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)
steps = st.tuples(st.integers(0, 6), st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=300)).map(
    lambda drawn: [value / 10 ** drawn[0] for value in drawn[1]]
)
singles = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300)


@given(st.one_of(st.lists(finite, min_size=1, max_size=300), steps, singles))
def test_every_double_comes_back_bit_for_bit(values):
    samples = array("d", [value + 0.0 for value in values])
    assert decode(encode(samples)).tobytes() == samples.tobytes()


def test_converter_steps_cost_about_a_byte_a_sample():
    ecg = array("d", [(index * 7919 % 37 - 18) / 200 for index in range(4096)])
    assert len(encode(ecg)) < 1.2 * len(ecg)


@pytest.mark.parametrize("harm", [lambda b: b[:-3], lambda b: b[:5], lambda b: b[:20] + b"x" + b[21:]])
def test_damage_is_noticed(harm):
    block = encode(array("d", [index / 8 for index in range(100)]))
    with pytest.raises(ValueError, match="damaged"):
        decode(harm(block))


def test_header_size_is_what_stored_blocks_have():
    block = encode(array("d", [1.5]))
    assert struct.unpack_from("<cBcIq", block) == (b"i", 1, b"b", 1, 15)


@given(st.integers(1, 10**8), st.integers(0, 10**6), st.integers(0, 2 * 10**18))
def test_grid_is_exact_to_the_nanosecond(rate, index, start):
    time = sample_time(start, index, rate)
    assert abs((time - start) * rate - index * 10**12) * 2 <= rate  # within half a nanosecond
    assert first_index(start, time, rate) == index
    assert first_index(start, time + 1, rate) == index + 1


def test_a_day_at_360_hz_does_not_drift():
    times = [sample_time(0, index, 360_000) for index in range(360 * 86_400 - 400, 360 * 86_400 + 1)]
    assert times[-1] == 86_400 * 10**9
    assert {after - before for before, after in pairwise(times)} == {2_777_777, 2_777_778}
