"""Chat templates give the text and the ids that `transformers` gives, and cannot leave their sandbox."""

import json
import shutil
from pathlib import Path

import pytest
import transformers

import edge
from edge.cli import exit_code
from models.chat import Turn, open_chat_template
from models.errors import CheckpointError, MisuseError
from models.zoo import zoo_folder

TURNS = [Turn("system", "Be brief."), Turn("user", "Why is <b>the sky</b> blue?\n"), Turn("assistant", "Dust, é.")]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for message in messages %}\n    {% if message.role == 'system' %}\n{% continue %}{% endif %}"
    "{% if message.role == 'user' %}[INST] {{ message.content | trim }} [/INST]"
    "{% elif message.role == 'assistant' %}{% generation %} {{ message.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ raise_exception('no role ' + message.role) }}{% endif %}{% endfor %}"
)
TOOLS = (
    "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}"
    "{{ m | tojson }} {{ ns.n }} {{ {'<a>': [1, 'é']} | tojson(indent=2) }}{%- endfor -%} {{ strftime_now('%Y') }}"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The zoo's tokenizer and sizes, in a folder that may get a template."""
    zoo = zoo_folder("fable-relu")
    assert zoo is not None
    for file in zoo.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    return tmp_path


def with_template(folder: Path, template: object) -> Path:
    """Writes a template where most checkpoints have it."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    return folder


@pytest.mark.parametrize("template", [CHATML, LLAMA, TOOLS], ids=["chatml", "llama", "tools"])
def test_text_and_ids_are_those_of_transformers(template: str, folder: Path) -> None:
    reference = transformers.AutoTokenizer.from_pretrained(with_template(folder, template))
    messages = [{"role": turn.role, "content": turn.content} for turn in TURNS]
    want = reference.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ours = open_chat_template(folder)
    assert ours is not None, "the template was not found"
    assert ours.text_of(TURNS) == want
    with edge.load(folder) as model:
        ids = reference.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert model.chat_ids(TURNS) == ids, "the text is tokenized otherwise"


def test_a_template_file_comes_before_the_key(folder: Path) -> None:
    with_template(folder, "the key")
    (folder / "chat_template.jinja").write_text("the file")
    template = open_chat_template(folder)
    assert template is not None and template.text_of([]) == "the file"


def test_of_several_templates_the_default_is_taken(folder: Path) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "default"}]
    template = open_chat_template(with_template(folder, named))
    assert template is not None and template.text_of([]) == "default"


def test_a_refused_conversation_says_why(folder: Path) -> None:
    template = open_chat_template(with_template(folder, LLAMA))
    assert template is not None
    with pytest.raises(MisuseError, match=r"tokenizer_config\.json refuses this conversation: no role judge"):
        template.text_of([Turn("judge", "Order!")])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append('x') }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "{{ messages[0].nothing.at_all }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox_or_end_in_a_traceback(template: str, folder: Path) -> None:
    found = open_chat_template(with_template(folder, template))
    assert found is not None
    with pytest.raises(CheckpointError, match=r"the chat template in .* fails"):
        found.text_of(TURNS)


def test_a_checkpoint_without_a_template_says_so(folder: Path) -> None:
    with edge.load(folder) as model, pytest.raises(MisuseError, match="has no chat template"):
        model.chat_ids(TURNS)


def test_edge_run_takes_a_conversation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_template(folder, CHATML)
    words = ["run", str(folder), "Once", "--chat", "--system", "Be brief.", "-n", "3", "--json"]
    assert exit_code(words) == 0
    record = json.loads(capsys.readouterr().out)
    with edge.load(folder) as model:
        assert record["prompt_tokens"] == model.chat_ids([Turn("system", "Be brief."), Turn("user", "Once")])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Once", "--system", "Be brief."], "add --chat"),
        (["--chat"], "--chat needs a PROMPT"),
        (["--chat", "--ids", "1,2"], "choose"),
    ],
)
def test_half_a_conversation_is_refused(
    words: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["run", str(folder), *words]) == 2
    assert says in capsys.readouterr().err
