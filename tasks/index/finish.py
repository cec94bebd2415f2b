"""Chunks and vectors in a scratch directory -> a segment that was checked, under its name."""

import os
from pathlib import Path

import numpy as np

from tasks.digest import Digest
from tasks.index.approximate import build_codes
from tasks.index.manifest import SEGMENTS
from tasks.index.segment import (
    FAISS,
    VECTORS,
    Segment,
    SegmentKind,
    SegmentManifest,
    load_segment,
    write_manifest,
)
from tasks.index.validation import check_segment
from tasks.store import publish


def finish_segment(
    scratch: Path, room: Path, *, embedding: Digest, kind: SegmentKind, recall: float
) -> Segment:
    """Make a segment searchable, check it, and give it its name.

    Args:
        scratch: directory with chunks and vectors; it becomes the segment.
        room: directory of all index versions.
        embedding: digest of the model.
        kind: how it shall be searched; where no effort reaches the recall it becomes `flat`.
        recall: what an approximate search must find.

    Raises:
        Terminal: a vector isn't one, or passages aren't found.
    """
    vectors = np.load(scratch / VECTORS, mmap_mode="r", allow_pickle=False)
    found = None
    if kind != "flat":
        found = build_codes(kind, vectors, scratch / FAISS, recall=recall)
    parameters, measured = found or ({}, None)
    manifest = SegmentManifest.describe(
        scratch,
        embedding_digest=embedding,
        n_chunks=len(vectors),
        dimensions=vectors.shape[1],
        kind=kind if found else "flat",
        parameters=parameters,
        recall=measured,
    )
    write_manifest(scratch, manifest)
    check_segment(Segment(scratch, manifest))
    (room / SEGMENTS).mkdir(exist_ok=True)
    final = room / SEGMENTS / manifest.digest
    publish(scratch, final)
    # It may have been there already, unused for long and about to be removed.
    os.utime(final)
    segment = load_segment(room, manifest.digest)
    segment.remember()
    return segment
