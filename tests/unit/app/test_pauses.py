from switchyard.app.pauses import FIRST, LONGEST, Pauses


def test_each_pause_is_longer_than_the_one_before_up_to_the_longest():
    pauses = Pauses(lambda: 0.0)
    lengths = [pauses.failed("crm") for _ in range(12)]
    assert lengths[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert lengths[-1] == LONGEST
    pauses.done("crm")
    assert pauses.failed("crm") == FIRST


def test_what_the_other_side_said_counts():
    now = [0.0]
    pauses = Pauses(lambda: now[0])
    assert pauses.left() is None
    assert pauses.failed("crm", 40.0) == 40.0
    assert (pauses.is_over("crm"), pauses.is_over("tills"), pauses.left()) == (False, True, 40.0)
    now[0] = 40.0
    assert (pauses.is_over("crm"), pauses.left()) == (True, None)
