"""Usage adds up."""

from __future__ import annotations

from crew_moe.domain.usage import Usage


def test_usage_adds_up_part_by_part() -> None:
    one = Usage(
        input_tokens=10,
        output_tokens=20,
        cached_tokens=1,
        cache_write_tokens=2,
        input_audio_tokens=3,
        input_image_tokens=4,
        reasoning_tokens=5,
        output_audio_tokens=6,
    )

    assert one + one == Usage(
        input_tokens=20,
        output_tokens=40,
        cached_tokens=2,
        cache_write_tokens=4,
        input_audio_tokens=6,
        input_image_tokens=8,
        reasoning_tokens=10,
        output_audio_tokens=12,
    )


def test_sum_with_a_batch_says_so() -> None:
    assert sum([Usage(input_tokens=1), Usage(input_tokens=2, batch=True)], Usage()) == Usage(input_tokens=3, batch=True)
