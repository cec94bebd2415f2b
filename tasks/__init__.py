"""The work, in the order in which data flows: corpus, index, serve, answer, evaluate, gate, report, track."""
