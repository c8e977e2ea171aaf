"""A signal ends every command in order, with 143 or 130: while libraries are imported, rows read, questions asked."""

import json
import os
import signal
import subprocess
import sys

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands import reading
from valuefree.cli.stopping import SIGNALS, Stopped, ended_by_signal
from valuefree.evaluation.judging.cache import JudgementCache

pytestmark = pytest.mark.usefixtures("own_signal_handlers")
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def ends(command, capsys):
    """The exit code and stderr of a command that a signal reaches."""
    with pytest.raises(SystemExit) as ended, ended_by_signal():
        cli.exit_with_message(command, name="valuefree")
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line_and_its_own_exit_code(number, capsys):
    code, said = ends(lambda: os.kill(os.getpid(), number), capsys)
    assert (code, said) == (CODES[number], f"valuefree: stopped by {number.name}\n")


@pytest.mark.parametrize("swallow", [True, False])
def test_a_library_may_turn_or_drop_the_exception(swallow, capsys):
    def command():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            if not swallow:
                raise ImportError("libtorch.so") from None

    code, said = ends(command, capsys)
    assert code == 143
    assert said.endswith("valuefree: stopped by SIGTERM\n")


def test_a_signal_that_the_caller_ignores_stays_ignored():
    """As under nohup, or behind a shell's &."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ended_by_signal():
        os.kill(os.getpid(), signal.SIGINT)


def test_without_a_signal_exit_codes_stay():
    with pytest.raises(SystemExit, match=r"^2$"), ended_by_signal():
        cli.exit_with_message(lambda: cli.run(["no-such-verb"]), name="valuefree")


PROGRAM = """
import os, signal, sys
class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, AtTorch())
sys.argv = ["valuefree", "generate", {prompts!r}, "--model", "no-such-folder/x", "--out", {out!r}]
from valuefree.__main__ import main
main()
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("module", ["valuefree.cli.main", "torch", "torch.nn"])
def test_a_signal_while_libraries_are_imported(number, module, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\n")
    program = PROGRAM.format(module=module, number=int(number), prompts=str(prompts), out=str(tmp_path / "out.jsonl"))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (CODES[number], f"valuefree: stopped by {number.name}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.txt"]


def test_a_second_signal_ends_the_process_at_once(tmp_path):
    program = (
        "import os, signal, time\nfrom valuefree.cli.stopping import ended_by_signal\n"
        "with ended_by_signal():\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(60)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_train_stopped_while_it_reads_leaves_neither_lock_nor_folder(number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reading, "_read", lambda options: os.kill(os.getpid(), number))
    code, _ = ends(lambda: cli.run(["train", "rows.jsonl", "--out", str(tmp_path / "run")]), capsys)
    assert code == CODES[number]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", SIGNALS)
def test_judge_keeps_the_answers_before_the_signal(number, tmp_path, monkeypatch, capsys):
    """The third of ten answers comes with a signal; the same command asks for no answer twice."""
    systems = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}.jsonl"
        rows = [{"prompt": f"p{k}", "response": f"{name}{k}"} for k in range(5)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        systems.append(f"{name}={file}")
    asked = []

    def verdict(question):
        asked.append(question)
        if len(asked) == 3:
            os.kill(os.getpid(), number)
        return "A"

    monkeypatch.setitem(sys.modules, "stopping_judge", type(sys)("stopping_judge"))
    sys.modules["stopping_judge"].verdict = verdict
    monkeypatch.setattr("inspect.getsource", lambda _: "the same source")
    command = ["judge", *systems, "--judge", "stopping_judge:verdict", "--out", str(tmp_path / "judged")]
    code, said = ends(lambda: cli.run(command), capsys)
    assert code == CODES[number]
    assert said.endswith(f"valuefree: stopped by {number.name}\n")
    with JudgementCache(tmp_path / "judged" / "judgements.jsonl", write=False) as cache:
        assert 3 <= len(cache.answers) < 10
    before = len(asked)
    cli.run(command)
    assert len(asked) == 10
    assert len(set(asked)) == 10
    assert before < 10
