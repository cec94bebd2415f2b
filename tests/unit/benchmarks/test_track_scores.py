from benchmarks.track_scores import CASES, MEASURES, make_scores, requests_in


def test_requests_are_counted_by_method_and_other_lines_of_a_log_are_not():
    log = (
        'INFO:     127.0.0.1:1 - "GET /health HTTP/1.1" 200 OK\n'
        "INFO:     Application startup complete.\n"
        'INFO:     127.0.0.1:1 - "PUT /artifacts/cases.json HTTP/1.1" 200 OK\n'
        'INFO:     127.0.0.1:1 - "PUT /artifacts/scores.png HTTP/1.1" 200 OK\n'
    )
    assert requests_in(log) == {"GET": 1, "PUT": 2}


def test_every_measure_of_every_case_has_a_score():
    log = make_scores(1)
    assert len({(score.case_id, score.measure) for score in log.scores}) == CASES * MEASURES
    assert {len(log.values(info.name)) for info in log.manifest.measures} == {CASES}
