import json

from registry.diff import compare_releases


def test_equal_releases_have_no_difference(tmp_path, make_release):
    diff = compare_releases(make_release(), make_release(), indexes=tmp_path)
    assert not diff
    assert str(diff).endswith("are the same.")


def test_a_changed_prompt_is_a_unified_diff_of_its_text(tmp_path, make_release):
    old = make_release(0, index="one")
    new = make_release(2, index="one")
    diff = compare_releases(old, new, indexes=tmp_path)
    assert "-Answer in 3 words." in diff.prompt
    assert "+Answer in 5 words." in diff.prompt
    assert diff.prompt[0] == f"--- {old.label}"
    assert diff.parameters == ()
    assert diff.index is None


def test_changed_parameters_are_named_with_both_values(tmp_path, make_release):
    diff = compare_releases(
        make_release(), make_release(top_k=8, temperature=0.5), indexes=tmp_path
    )
    changes = {change.name: (change.old, change.new) for change in diff.parameters}
    assert changes["retrieval.top_k"] == ("4", "8")
    assert changes["model.sampling.temperature"] == ("0.0", "0.5")
    assert "retrieval.top_k: 4 -> 8" in str(diff)
    assert diff.prompt == ()


def test_a_changed_index_shows_its_counts_where_its_manifest_is_there(tmp_path, make_release):
    old, new = make_release(index="one"), make_release(index="two")
    directory = tmp_path / old.index_digest
    directory.mkdir()
    (directory / "manifest.json").write_text(json.dumps({"n_documents": 1200, "n_chunks": 3400}))
    diff = compare_releases(old, new, indexes=tmp_path)
    assert diff.index[0].n_chunks == 3400
    assert diff.index[1].n_chunks is None
    assert "1,200 documents, 3,400 chunks" in str(diff)
    assert "not on this machine" in str(diff)
