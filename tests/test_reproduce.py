"""The blocks of docs/reproduce.md run as they stand, on a trial that was exported."""

import re
from pathlib import Path

from search.run.run_folder import RunFolder
from tests.datasets.photos import jpeg
from tests.search.command import steppe
from tests.search.reproduce.recorded import STUDY, sam_sweep, train

PAGE = (Path(__file__).parent.parent / "docs" / "reproduce.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train(sam_sweep(), RunFolder(tmp_path / "run"), {})
    (place,) = set(re.findall(r'"(exported/[\w.]+)[/"]', PAGE))
    assert steppe("export", "run", STUDY, "--predictions", "--output", place).exit_code == 0
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(jpeg(0, 24, 16))

    known: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/reproduce.md", "exec"), known)

    assert capsys.readouterr().out.startswith("['")
    assert len(known["p"]) == 300
