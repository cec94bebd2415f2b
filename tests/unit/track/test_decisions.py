from tasks.track.decisions import _plain


def test_nothing_in_a_reason_is_markup():
    text = "case `q1` <img src=x onerror=alert(1)> [a](javascript:x)\n# title"
    plain = _plain(text)
    assert "<" not in plain
    assert "\n" not in plain
    assert "\\[a\\]\\(javascript" in plain
