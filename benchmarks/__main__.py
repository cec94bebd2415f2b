"""python -m benchmarks [NAME [DATA]]: run one benchmark, or list what there is."""

import sys
from importlib import import_module
from pathlib import Path

BENCHMARKS = {
    "P1-read": ("benchmarks.unchanged_corpus", "a corpus read again, beside a stat walk"),
    "P1": ("benchmarks.reindex_unchanged", "nothing changed, beside LangChain and LlamaIndex"),
    "P2": ("benchmarks.reindex_edits", "a sentence in one percent of the documents, beside them"),
    "P3": ("benchmarks.reindex_deletes", "upserts and deletes on a million vectors, then queries"),
    "P4": ("benchmarks.embedding_speed", "embedding backends: how fast, and how well they find"),
    "P5": ("benchmarks.eval_speed", "six judged measures, beside ragas, on a stub of vLLM"),
    "P6": ("benchmarks.vllm_order", "the same prompts on a real vLLM, in order and as given"),
    "P7": ("benchmarks.eval_again", "judging again after a tenth of the answers changed"),
    "P8": ("benchmarks.gate_speed", "seconds a decision takes, beside scipy and the peers"),
    "P11": ("benchmarks.flow_items", "ten thousand small items through a Prefect flow"),
    "P12": ("benchmarks.track_scores", "twenty thousand scores into an MLflow server"),
    "P14": ("benchmarks.reindex_sizes", "what a night costs as the corpus grows"),
    "V1": ("benchmarks.stub_calibration", "the stub's profile, fitted to a real vLLM here"),
    "R1": ("benchmarks.champion", "how long a process takes to learn which release is live"),
    "S1": ("benchmarks.retrieval_quality", "SciFact by meaning, by words and by both"),
    "C1": ("benchmarks.chunking", "passages that an edit leaves alone, beside fixed windows"),
    "E1": ("benchmarks.error_rates", "how often each gate promotes what is no better"),
    "E2": ("benchmarks.gate_sizes", "20,000 nulls through every test of the gate"),
    "C2": ("benchmarks.document_checks", "planted orders that the check on documents finds"),
}
NEED_DATA = {"C1", "C2", "P1", "P1-read", "P2", "P4", "S1"}
"""Those that read a data set: DATA is the directory that each one's `main` describes."""


def main() -> int:
    """Run the command line; the exit code: 0, or 1 when the goal was missed."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    data = [Path(argument) for argument in sys.argv[2:]]
    if name not in BENCHMARKS or len(data) != (name in NEED_DATA):
        for known, (_, what) in BENCHMARKS.items():
            print(f"  make bench NAME={known}{' DATA=...' if known in NEED_DATA else ''}  {what}")
        return 0 if len(sys.argv) == 1 else 2
    met: bool = import_module(BENCHMARKS[name][0]).main(*data)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
