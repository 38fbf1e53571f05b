"""Chat templates give the text and the ids that `transformers` gives, and cannot leave their sandbox."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

import edge
from edge.cli import exit_code
from models.chat import ChatTemplate, Turn, open_chat_template
from models.errors import CheckpointError, EdgeError, MisuseError
from models.tokenizer import open_tokenizer
from models.zoo import zoo_folder
from tests.models.chat_templates import TEMPLATES

TURNS = [Turn("system", "Be brief."), Turn("user", "Why is <b>the sky</b> blue?\n"), Turn("assistant", "Dust, é.")]

CONVERSATIONS = {
    "one question": TURNS[1:2],
    "an answer": TURNS[1:],
    "a system": TURNS[:2],
    "all": [*TURNS, Turn("user", " And at <|im_end|>\tnight? ")],
    "long": [
        *TURNS,
        Turn("user", "<think>a</think>b"),
        Turn("assistant", "<think>\nc\n</think>\n\nd"),
        Turn("user", ""),
    ],
    "two questions": [TURNS[1], TURNS[1]],
    "another role": [TURNS[1], Turn("judge", "Order!")],
}

NAMED = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "image_token": "<image>",
}

CHATML, LLAMA = TEMPLATES["chatml"], TEMPLATES["llama 2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The zoo's tokenizer and sizes, in a folder that may get a template."""
    zoo = zoo_folder("fable-relu")
    assert zoo is not None
    for file in zoo.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def reference() -> PreTrainedTokenizerFast:
    """A tokenizer of transformers with a token of every name."""
    zoo = zoo_folder("fable-relu")
    assert zoo is not None
    return PreTrainedTokenizerFast(tokenizer_file=str(zoo / "tokenizer.json"), **NAMED)


def with_config(folder: Path, **keys: object) -> Path:
    """Writes keys where most checkpoints have their template and special tokens."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))
    return folder


def with_template(folder: Path, template: object) -> Path:
    return with_config(folder, chat_template=template)


def template_of(folder: Path) -> ChatTemplate:
    tokenizer = open_tokenizer(folder)
    assert tokenizer is not None
    template = open_chat_template(folder, tokenizer.named)
    assert template is not None, "the template was not found"
    return template


def messages_of(turns: list[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def check_equal(reference: PreTrainedTokenizerFast, name: str, turns: list[Turn], add_generation_prompt: bool) -> None:
    """Both give the same text, or both refuse; what Edge says then is one line."""
    ours = ChatTemplate(TEMPLATES[name], Path("there.jinja"), NAMED)
    reference.chat_template = TEMPLATES[name]
    try:
        want = reference.apply_chat_template(
            messages_of(turns), add_generation_prompt=add_generation_prompt, tokenize=False
        )
    except Exception:  # of any kind, as the template has it
        with pytest.raises(EdgeError) as reported:
            ours.text_of(turns, add_generation_prompt=add_generation_prompt)
        assert "there.jinja" in str(reported.value) and "\n" not in str(reported.value)
    else:
        assert ours.text_of(turns, add_generation_prompt=add_generation_prompt) == want


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_gives_the_text_of_transformers(name: str, reference: PreTrainedTokenizerFast) -> None:
    for turns in CONVERSATIONS.values():
        for add_generation_prompt in (True, False):
            check_equal(reference, name, turns, add_generation_prompt)


@given(
    name=st.sampled_from(list(TEMPLATES)),
    turns=st.lists(
        st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=12)), min_size=1, max_size=5
    ),
    add_generation_prompt=st.booleans(),
)
def test_any_conversation_gives_the_text_of_transformers(
    name: str, turns: list[Turn], add_generation_prompt: bool, reference: PreTrainedTokenizerFast
) -> None:
    check_equal(reference, name, turns, add_generation_prompt)


def test_most_of_the_templates_render() -> None:
    """A comparison in which everything fails would hold."""
    rendered = 0
    for source in TEMPLATES.values():
        with suppress(EdgeError):
            rendered += bool(ChatTemplate(source, Path("there.jinja"), NAMED).text_of(CONVERSATIONS["one question"]))
    assert rendered >= 40


@pytest.mark.parametrize("name", ["chatml", "llama 2", "json by name"])
def test_ids_are_those_of_transformers(name: str, folder: Path) -> None:
    """From the files of a folder to ids, as `AutoTokenizer` reads them."""
    reference = transformers.AutoTokenizer.from_pretrained(with_template(folder, TEMPLATES[name]))
    ids = reference.apply_chat_template(messages_of(TURNS[1:]), add_generation_prompt=True, return_dict=False)
    with edge.load(folder, engine="torch") as model:
        assert model.chat_ids(TURNS[1:]) == ids, "the text is tokenized otherwise"


JINJA = {"chat_template.jinja": "the file"}
MORE = {"additional_chat_templates/rag.jinja": "rag", "additional_chat_templates/tool_use.jinja": "tools"}
KEY = {"tokenizer_config.json": json.dumps({"chat_template": "the key"})}
NAMES = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "named"}]
SEVERAL = {"tokenizer_config.json": json.dumps({"chat_template": NAMES})}
TABLE = {"tokenizer_config.json": json.dumps({"chat_template": {"default": "of a table", "rag": "rag"}})}
LACKING = {"tokenizer_config.json": json.dumps({"chat_template": NAMES[:1]})}
NULL = {"tokenizer_config.json": json.dumps({"chat_template": None})}
PROCESSOR = {"chat_template.json": json.dumps({"chat_template": "a processor's"})}
OWN_DEFAULT = {"additional_chat_templates/default.jinja": "one more default"}


@pytest.mark.parametrize(
    "files",
    [
        JINJA,
        KEY,
        SEVERAL,
        TABLE,
        LACKING,
        NULL,
        JINJA | KEY,
        JINJA | SEVERAL,
        JINJA | MORE,
        JINJA | MORE | KEY,
        JINJA | OWN_DEFAULT,
        MORE,
        MORE | KEY,
        OWN_DEFAULT | KEY,
        PROCESSOR | KEY,
        PROCESSOR | JINJA,
        PROCESSOR | LACKING,
    ],
    ids=lambda files: "+".join(files),
)
def test_the_template_that_wins_is_that_of_transformers(files: dict[str, str], tmp_path: Path) -> None:
    zoo = zoo_folder("fable-relu")
    assert zoo is not None
    shutil.copy(zoo / "tokenizer.json", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "additional_chat_templates").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    try:
        want = reference.get_chat_template()
    except ValueError as refused:
        if "multiple chat templates with no default" in str(refused):
            with pytest.raises(CheckpointError, match=r"named (rag, )?tool_use, and none named 'default'; copy"):
                open_chat_template(tmp_path, {})
        else:
            assert open_chat_template(tmp_path, {}) is None
    else:
        assert template_of(tmp_path).source == want


def test_a_processor_s_template_is_taken_where_there_is_no_other(folder: Path) -> None:
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "a processor's"}))
    assert template_of(folder).text_of(TURNS) == "a processor's"


def test_a_refused_conversation_says_why(folder: Path) -> None:
    template = template_of(with_template(folder, TEMPLATES["mistral"]))
    with pytest.raises(MisuseError, match=r"tokenizer_config\.json rejects this conversation: Only user and"):
        template.text_of([TURNS[1], Turn("judge", "Order!")])


DEEP = 20_000


@pytest.mark.parametrize(
    ("template", "expected_message"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "line 1"),
        ("{{ messages.append('x') }}", "line 1: .*not safely callable|line 1: "),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "line 1"),
        ("{% for i in range(10000000) %}x{% endfor %}", "line 1: OverflowError: Range too big"),
        ("\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        ("{{ 1\n/ 0 }}", "ZeroDivisionError: division by zero"),
        ("\n\n{{ messages[0].nothing.at_all }}", "line 3: 'dict object' has no attribute 'nothing'"),
        ("{{ messages|dictsort }}", "line 1: AttributeError: 'list' object has no attribute 'items'"),
        ("{% break %}", "SyntaxError: 'break' outside loop"),
        ("{% continue %}", "SyntaxError: 'continue' not properly in loop"),
        ("{{ messages | no_such_filter }}", "line 1: No filter named 'no_such_filter'"),
        ("{% include 'other' %}", "line 1: TypeError: no loader"),
        ("{{ '%s %s' % 1 }}", "line 1: TypeError"),
        ("{{ '%c' % -1 }}", "line 1: OverflowError"),
        ("{{ 'x' * 9223372036854775807 }}", "line 1: (MemoryError|OverflowError)"),
        ("{{ (10 ** 5000) | string }}", "ValueError: Exceeds the limit"),
        ("{{ 'x'.encode('no such') }}", "line 1: LookupError"),
        ("{{ messages | tojson(1, 2, 3, 4, 5) }}", "line 1: TypeError"),
        ("{{ messages[0] | tojson(indent=[]) }}", "line 1: TypeError"),
        ("{% set l = [] %}{{ {1: cycler} | tojson }}", "line 1: TypeError: Object of type type is not JSON"),
        ("{% macro f() %}{{ f() }}{% endmacro %}\n{{ f() }}", "line 1: RecursionError"),
        ("{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}", "RecursionError|MemoryError|SyntaxError"),
        ("{{ " + "[" * 250 + "1" + "]" * 250 + " }}", "RecursionError|MemoryError|SyntaxError"),
        ("{{ " + "-" * DEEP + "1 }}", "RecursionError|MemoryError|SyntaxError"),
        ("{{ 1" + "+1" * DEEP + " }}", "RecursionError|MemoryError|SyntaxError"),
        ("{% if 1 %}" * 120 + "{% endif %}" * 120, "RecursionError|MemoryError|SyntaxError|IndentationError"),
        ("{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "SyntaxError"),
        ("{{ raise_exception() }}", "TypeError"),
        ("{% set ns = namespace(__class__=1) %}", "private"),
        ("{{ strftime_now(1) }}", "line 1: TypeError"),
    ],
    ids=lambda text: text[:40],
)
def test_a_template_cannot_leave_its_sandbox_or_end_in_a_traceback(template: str, expected_message: str) -> None:
    with pytest.raises(
        CheckpointError, match=rf"the chat template in there\.jinja fails.*({expected_message})"
    ) as reported:
        ChatTemplate(template, Path("there.jinja"), NAMED).text_of(TURNS)
    assert "\n" not in str(reported.value) and len(str(reported.value)) < 500, "more than one line"


@pytest.mark.parametrize("message", ["'two\\nlines'", "'x' * 10000", "1", "none", "['a']", "nothing"])
def test_a_refusal_is_one_line_whatever_it_says(message: str) -> None:
    with pytest.raises(MisuseError, match="rejects this conversation") as reported:
        ChatTemplate(f"{{{{ raise_exception({message}) }}}}", Path("there.jinja"), NAMED).text_of(TURNS)
    assert "\n" not in str(reported.value) and len(str(reported.value)) < 500


def test_a_file_that_is_no_utf8_is_named(folder: Path) -> None:
    (folder / "chat_template.jinja").write_bytes(b"{{ 'caf\xe9' }}")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja is not UTF-8 text \(byte 7 is not\)"):
        open_chat_template(folder, {})
    with edge.load(folder, engine="torch") as model:
        assert model.run("Once", max_new_tokens=1).generated, "text alone needs no template"


@pytest.mark.parametrize(("template", "said"), [(CHATML, "a\ud83d"), ("{{ '\ud83d' }}", "a")], ids=["turn", "template"])
def test_half_a_character_in_a_conversation_is_refused(template: str, said: str, folder: Path) -> None:
    with (
        edge.load(with_template(folder, template), engine="torch") as model,
        pytest.raises(MisuseError, match="not valid Unicode"),
    ):
        model.chat_ids([Turn("user", said)])


def test_a_checkpoint_without_a_template_says_so(folder: Path) -> None:
    with edge.load(folder, engine="torch") as model, pytest.raises(MisuseError, match="has no chat template"):
        model.chat_ids(TURNS)


def test_edge_run_takes_a_conversation(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with_template(folder, CHATML)
    words = ["run", str(folder), "Once", "--chat", "--system", "Be brief.", "-n", "3", "--json", "-e", "torch"]
    assert exit_code(words) == 0
    record = json.loads(capfd.readouterr().out)
    with edge.load(folder, engine="torch") as model:
        assert record["prompt_tokens"] == model.chat_ids([Turn("system", "Be brief."), Turn("user", "Once")])


@pytest.mark.parametrize(
    ("words", "expected_message"),
    [
        (["Once", "--system", "Be brief."], "add --chat"),
        (["--chat"], "--chat needs a PROMPT"),
        (["--chat", "--ids", "1,2"], "cannot be combined"),
    ],
)
def test_half_a_conversation_is_refused(
    words: list[str], expected_message: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", str(folder), *words]) == 2
    assert expected_message in capfd.readouterr().err
