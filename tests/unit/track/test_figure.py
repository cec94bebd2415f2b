import io

from tasks.track.figure import score_figure
from tasks.track.metrics import MeanScore, mean_scores
from tests.evaluations import make_log, make_release


def test_measures_between_0_and_1_are_drawn_with_their_intervals():
    figure = score_figure(mean_scores(make_log(make_release())), title="a release")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[-1].startswith("answer_correct  (n=11, 1 failed)")
    assert not [label for label in labels if label.startswith(("latency", "rubric"))]


def test_a_name_is_drawn_as_text_whatever_it_holds():
    score = MeanScore("$\\frac{1}", 0.5, None, None, 3, 0)
    file = io.BytesIO()
    score_figure([score], title="$\\broken{").savefig(file)
    assert file.getvalue().startswith(b"\x89PNG")
