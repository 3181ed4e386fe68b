"""Words and figures in text."""

from gpuslice.units import first_of


def test_a_long_list_names_the_first_and_counts_the_rest():
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(["a", "b", "c"], 2) == "a, b and 1 more"
    assert first_of([str(number) for number in range(1_203)], 3) == "0, 1, 2 and 1,200 more"
