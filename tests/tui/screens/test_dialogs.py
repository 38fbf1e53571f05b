"""Dialogs: what they offer, and what each choice does."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from textual.widgets import Static

import edge
from edge.doctor import Check
from models.zoo import zoo_names
from tests.models.found.layouts import IQ2_XXS, small_llama, use_machine, write_hub, write_ollama
from tests.models.hub_server import Hub, serving
from tests.reference import REFERENCES, write_reference
from tests.tui.app_driver import PATIENCE_S, AppDriver, running_app
from tests.tui.dialogs import choose, listed, note_of, open_dialog, type_in
from tests.tui.fake_model import FakeModel, FakeModels, small_spec
from tui.app_factory import app_on_trace
from tui.available_models import engine_choices, is_comparable
from tui.jobs.job import ModelOnEngine
from tui.jobs.load import Load, summary_of
from tui.jobs.run import watch_for
from tui.screens.compare import CompareScreen
from tui.screens.dialog import Dialog, Field
from tui.screens.error import ErrorScreen
from tui.screens.export_model import ExportedScreen, ExportScreen
from tui.screens.open import OpenScreen
from tui.screens.write import WriteScreen
from tui.widgets.choice_list import ChoiceList
from tui.widgets.frame.header_bar import HeaderBar

HUB_ID = "someone/tiny-gpt2"


def write_trace(file: Path, words: str = "Once upon a time", n_layers: int = 3) -> Path:
    model = FakeModel(spec=small_spec(n_layers))
    ids = model.tokenizer.encode(words)
    return model.run(ids=ids, max_new_tokens=5, watch=watch_for(model.spec, len(ids))).save(file)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, here and in processes started from here, on a machine without other models."""
    machine = use_machine(tmp_path / "home", monkeypatch)
    monkeypatch.setenv("HF_HOME", str(machine / "hub-home"))
    return Path(constants.HF_HUB_CACHE)


# ---- opening ------------------------------------------------------------------------------------------------


async def test_a_model_of_the_zoo_opens_on_a_chosen_engine(hub_cache: Path) -> None:
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        name = zoo_names()[0]
        await choose(ui, dialog, "#open-models", name)
        assert any(name in line and "layers" in line for line in listed(dialog, "#open-models")), "no sizes are shown"
        await choose(ui, dialog, "#open-engines", "torch:int8")
        await ui.press("enter")
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the model to open")
        await ui.idle()
        assert ui.main.session.target == ModelOnEngine(name, "torch:int8") and ui.app.screen is ui.main
        assert ui.main.settings_store.settings.models[0] == name, "what was opened is not remembered"


async def test_the_header_opens_it_too_and_escape_changes_nothing(hub_cache: Path) -> None:
    async with running_app() as ui:
        await ui.pilot.click(HeaderBar)
        await ui.until(lambda: isinstance(ui.app.screen, OpenScreen), "a click on the header to ask")
        await ui.press("escape")
        assert ui.app.screen is ui.main and len(ui.fake_models.opened) == 1


async def test_a_click_points_and_a_second_one_opens(hub_cache: Path) -> None:
    async with running_app(size=(120, 42)) as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await choose(ui, dialog, "#open-models", zoo_names()[0])
        await ui.pilot.click("#open-models", offset=(4, 3))
        chosen = dialog.query_one("#open-models", ChoiceList).current_choice
        assert chosen == zoo_names()[1] and ui.app.screen is dialog, "one click opened a model"
        await ui.pilot.click("#open-models", offset=(4, 3))
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the model to open")


async def test_weights_that_are_stored_in_groups_are_offered_in_their_own_precision_only(
    hub_cache: Path, tmp_path: Path
) -> None:
    from tests.mlx_quantized import quantize

    folder = tmp_path / "quantized"
    write_reference(REFERENCES["llama-grouped-tied"](), folder)
    quantize(folder, bits=4)
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", str(folder))
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the folder to open")
        await ui.idle()
        dialog = await open_dialog(ui, "o", OpenScreen)
        await choose(ui, dialog, "#open-models", str(folder))
        await ui.until(lambda: listed(dialog, "#open-engines") == ["onnx:int4", "torch:int4", "mlx:int4"], "its own")
        await choose(ui, dialog, "#open-models", zoo_names()[0])
        await ui.until(lambda: "torch:bf16" in listed(dialog, "#open-engines"), "all others, for floats")
        await choose(ui, dialog, "#open-models", str(folder))
        await choose(ui, dialog, "#open-engines", "torch:int4")
        await ui.press("enter")
        await ui.until(
            lambda: ui.main.session.target == ModelOnEngine(str(folder), "torch:int4"), "it to open in torch"
        )
    with edge.load(folder, "onnx", threads=1) as model:
        model = summary_of(ModelOnEngine(str(folder), "onnx"), model)
    assert (model.engine, model.stored) == ("onnx:int4", "int4"), "a loaded model does not say how it is stored"
    assert [key for key, _ in engine_choices(("onnx",), model.stored)] == ["onnx:int4", "torch:int4", "mlx:int4"]


async def test_engines_that_are_not_installed_are_gray_with_what_to_do(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_app() as ui:
        ui.main.dialogs.engines = ("onnx",)
        dialog = await open_dialog(ui, "o", OpenScreen)
        engines = dialog.query_one("#open-engines", ChoiceList)
        works = {option.id: not option.disabled for option in engines.options if option.id}
        assert works["onnx:int4"] and not works["torch"] and not works["mlx:bf16"], works
        assert "pip install 'edge-lens[torch]'" in note_of(dialog).replace("\n", " "), note_of(dialog)


async def test_what_is_typed_may_be_a_folder_or_is_refused_with_the_way_out(hub_cache: Path, tmp_path: Path) -> None:
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        for name in ("~nobody-of-that-name/x", "x" * 5000, "\0", "../..:x"):
            await type_in(ui, dialog, "#open-path", name)
            assert ui.app.screen is dialog and note_of(dialog).startswith("✗"), name[:20]
        await type_in(ui, dialog, "#open-path", "no such thing")
        assert ui.app.screen is dialog and "no folder or file 'no such thing'" in note_of(dialog), note_of(dialog)
        await type_in(ui, dialog, "#open-path", str(tmp_path))
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the folder to open")
        assert ui.main.session.target == ModelOnEngine(str(tmp_path), "onnx")


async def test_models_of_other_programs_are_listed_by_source_with_why_one_does_not_open(
    hub_cache: Path, tmp_path: Path
) -> None:
    weights = small_llama(tmp_path / "small.gguf").read_bytes()
    write_hub(hub_cache, "org/Small-GGUF", {"Small-Q8_0.gguf": weights})
    root = tmp_path / "home" / ".ollama" / "models"
    write_ollama(root, ("registry.ollama.ai", "library", "small", "latest"), weights)
    write_ollama(root, ("registry.ollama.ai", "library", "torn", "latest"), weights, size=7)
    small_llama(tmp_path / "home" / ".lmstudio" / "models" / "me" / "Rare" / "Rare.gguf", IQ2_XXS)
    async with running_app(size=(200, 60)) as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await choose(ui, dialog, "#open-models", "small:latest")
        lines = listed(dialog, "#open-models")
        assert [line for line in lines if line in ("bundled", "hub cache", "Ollama", "LM Studio")] == [
            "bundled",
            "hub cache",
            "Ollama",
            "LM Studio",
        ]
        works = {one.id: not one.disabled for one in dialog.query_one("#open-models", ChoiceList).options if one.id}
        assert works["org/Small-GGUF:Q8_0"] and works["small:latest"]
        assert not works["torn:latest"] and not works["me/Rare"]
        assert any("me/Rare" in line and "IQ2_XXS" in line for line in lines), lines
        assert any("torn:latest" in line and "its manifest says 7" in line for line in lines), lines
        await ui.press("enter")
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the model to open")
        await ui.idle()
        assert ui.main.session.target is not None and ui.main.session.target.model == "small:latest"


@pytest.mark.parametrize("name", ["small", "org/Small-GGUF:q8_0", "hf.co/org/Small-GGUF:Q8_0", "~/small.gguf"])
async def test_what_is_typed_may_be_any_name_of_a_model(hub_cache: Path, tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    weights = small_llama(home / "small.gguf").read_bytes()
    write_hub(hub_cache, "org/Small-GGUF", {"Small-Q8_0.gguf": weights})
    write_ollama(home / ".ollama" / "models", ("registry.ollama.ai", "library", "small", "latest"), weights)
    typed = {"hf.co/org/Small-GGUF:Q8_0": "org/Small-GGUF:Q8_0", "~/small.gguf": str(home / "small.gguf")}
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", name)
        await ui.until(lambda: len(ui.fake_models.opened) == 2, "the model to open")
        await ui.idle()
        assert ui.main.session.target == ModelOnEngine(typed.get(name, name), "onnx")
        dialog = await open_dialog(ui, "o", OpenScreen)
        await ui.until(lambda: len(listed(dialog, "#open-models")) > 3, "models to be listed")
        assert ("recent folders and files" in listed(dialog, "#open-models")) is (name == "~/small.gguf")


async def test_a_damaged_model_of_another_program_is_refused_and_never_pulled(hub_cache: Path, tmp_path: Path) -> None:
    """A name of Ollama with a namespace looks like one of the hub."""
    root = tmp_path / "home" / ".ollama" / "models"
    write_ollama(root, ("registry.ollama.ai", "me", "torn", "q4"), b"GGUF", size=7)
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", "me/torn:q4")
        await ui.press("enter")
        assert ui.app.screen is dialog and "its manifest says 7" in note_of(dialog), note_of(dialog)


async def test_a_model_that_does_not_load_leaves_the_current_one_open(hub_cache: Path, tmp_path: Path) -> None:
    async with running_app() as ui:
        await ui.run("a king")
        before = ui.shown_run
        ui.main.session.do(Load(ModelOnEngine(str(tmp_path), "broken")))
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        await ui.press("enter")
        assert ui.shown_run is before and ui.main.state.model is not None


async def test_a_trace_opens_beside_a_loaded_model_which_still_runs(hub_cache: Path, tmp_path: Path) -> None:
    file = write_trace(tmp_path / "seen.trace")
    async with running_app() as ui:
        await ui.run("a king")
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", str(file))
        await ui.until(lambda: ui.shown_run.trace.prompt_length == 4, "the trace to show")
        await ui.idle()
        assert ui.shown_run.weights is None and ui.main.state.model is not None
        assert ui.main.state.model.source == "", "the header names the model, not the trace"
        assert ui.main.settings_store.settings.traces == (str(file),), "the trace is not remembered"
        await ui.run("a queen")
        assert ui.main.state.model is ui.main.session.loaded, "after a run the header still names the trace"
        assert ui.shown_run.trace.prompt_length == 2


async def test_what_is_no_trace_is_refused_in_words(hub_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "other.trace").write_bytes(b"not a trace")
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", str(tmp_path / "other.trace"))
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")


async def test_a_model_opens_from_a_saved_trace(hub_cache: Path, tmp_path: Path) -> None:
    fake_models = FakeModels()
    app = app_on_trace(edge.open_trace(write_trace(tmp_path / "seen.trace")), fake_models.open, ("onnx", "torch"))
    async with app.run_test(size=(100, 40)) as pilot:
        ui = AppDriver(app, app.main, pilot, fake_models, app.main.runner)
        await ui.idle()
        assert ui.main.query_one("#prompt").disabled, "a prompt may be typed that nothing can run"
        dialog = await open_dialog(ui, "o", OpenScreen)
        await choose(ui, dialog, "#open-models", zoo_names()[0])
        await ui.press("enter")
        await ui.until(lambda: len(fake_models.opened) == 1, "the model to open")
        await ui.idle()
        await ui.run("a king")
        assert ui.shown_run.trace.prompt_length == 2
    assert app.main.runner.close(PATIENCE_S)


# ---- pulling ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("repository")
    write_reference(REFERENCES["gpt2-tied"](), folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_an_id_of_the_hub_is_pulled_and_loaded(
    hub_cache: Path, repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = Hub(HUB_ID, repository)
    with serving(hub) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        async with running_app() as ui:
            dialog = await open_dialog(ui, "o", OpenScreen)
            await type_in(ui, dialog, "#open-path", HUB_ID)
            assert ui.app.screen is dialog and "enter again downloads it" in note_of(dialog) and not hub.asked
            await ui.press("enter")
            await ui.until(lambda: len(ui.fake_models.opened) == 2, "the pull to end")
            assert ui.main.session.target is not None
            await ui.idle()
            assert ui.main.session.target.model == HUB_ID and "model.safetensors" in hub.fetched()
            dialog = await open_dialog(ui, "o", OpenScreen)
            await choose(ui, dialog, "#open-models", HUB_ID)
            await ui.press("escape")
    assert capfd.readouterr() == ("", ""), "the pull wrote to the terminal"


@pytest.fixture
def deaf_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "600")
        monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "600")
        yield


async def test_one_gguf_file_of_the_hub_is_pulled_and_loaded(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = small_llama(tmp_path / "small.gguf").read_bytes()
    hub, name = Hub(HUB_ID, {f"small-{tag}.gguf": weights for tag in ("Q4_K_M", "Q8_0")}), f"{HUB_ID}:Q8_0"
    with serving(hub) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        async with running_app() as ui:
            dialog = await open_dialog(ui, "o", OpenScreen)
            await type_in(ui, dialog, "#open-path", name)
            assert ui.app.screen is dialog and "enter again downloads it" in note_of(dialog) and not hub.asked
            await ui.press("enter")
            await ui.until(lambda: len(ui.fake_models.opened) == 2, "the pull to end")
            await ui.idle()
            assert ui.main.session.target == ModelOnEngine(name, "onnx")
    sent = [line for line in hub.asked if line.startswith("GET") and ".gguf" in line]
    assert sent and all("small-Q8_0" in line for line in sent), sent


async def test_escape_ends_a_pull(hub_cache: Path, deaf_hub: None) -> None:
    async with running_app() as ui:
        dialog = await open_dialog(ui, "o", OpenScreen)
        await type_in(ui, dialog, "#open-path", HUB_ID)
        await ui.press("enter")
        header = ui.main.query_one(HeaderBar)
        await ui.until(lambda: "so far" in header.progress, "the pull to tell how far it is")
        await ui.press("escape")
        await ui.idle()
        assert ui.app.screen is ui.main and len(ui.fake_models.opened) == 1, "a pull that was stopped loaded something"


async def test_a_model_that_the_hub_does_not_have_is_one_message(
    hub_cache: Path, repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Hub(HUB_ID, repository)) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        async with running_app() as ui:
            dialog = await open_dialog(ui, "o", OpenScreen)
            await type_in(ui, dialog, "#open-path", "someone/else")
            await ui.press("enter")
            await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
            await ui.press("enter")
            assert ui.main.state.model is not None and len(ui.fake_models.opened) == 1


# ---- comparing ----------------------------------------------------------------------------------------------


async def test_another_engine_runs_beside_on_the_same_tokens_until_it_is_stopped(hub_cache: Path) -> None:
    async with running_app() as ui:
        await ui.run("Once upon a time")
        dialog = await open_dialog(ui, "d", CompareScreen)
        await choose(ui, dialog, "#compare-with", "fake torch:int8")
        await ui.press("enter")
        await ui.until(lambda: ui.main.state.compared is not None, "the run beside")
        await ui.idle()
        compared = ui.main.state.compared
        assert compared is not None and compared.name == "torch:int8"
        assert compared.trace.tokens == ui.shown_run.trace.tokens[: ui.shown_run.trace.n_fed], "other tokens were fed"
        assert ui.main.session.target == ModelOnEngine("fake", "onnx"), "comparing changed the model at hand"
        dialog = await open_dialog(ui, "d", CompareScreen)
        assert any("stop comparing" in line and "torch:int8" in line for line in listed(dialog, "#compare-with"))
        await choose(ui, dialog, "#compare-with", "stop")
        await ui.press("enter")
        await ui.until(lambda: ui.main.state.compared is None, "the comparison to end")


async def test_another_prompt_stays_beside_whatever_runs(hub_cache: Path) -> None:
    async with running_app() as ui:
        await ui.run("Once upon a time")
        dialog = await open_dialog(ui, "d", CompareScreen)
        await type_in(ui, dialog, "#compare-prompt", "")
        assert ui.app.screen is dialog and note_of(dialog).startswith("✗"), "nothing was taken for a prompt"
        await type_in(ui, dialog, "#compare-prompt", "another king")
        await ui.until(lambda: ui.main.state.compared is not None, "the run beside")
        await ui.idle()
        compared = ui.main.state.compared
        assert compared is not None and compared.trace.prompt_length == 2
        await ui.run("There was a queen")
        assert ui.main.state.compared is not None, "a new run ended the comparison"


async def test_a_saved_trace_stands_beside_a_run_of_a_model_built_alike(hub_cache: Path, tmp_path: Path) -> None:
    alike, other = write_trace(tmp_path / "alike.trace"), write_trace(tmp_path / "other.trace", n_layers=2)
    async with running_app() as ui:
        await ui.run("a king")
        dialog = await open_dialog(ui, "d", CompareScreen)
        await type_in(ui, dialog, "#compare-trace", str(tmp_path / "none.trace"))
        assert ui.app.screen is dialog and "no file" in note_of(dialog)
        await type_in(ui, dialog, "#compare-trace", str(alike))
        await ui.until(lambda: ui.main.state.compared is not None, "the trace beside")
        await ui.idle()
        assert ui.main.state.compared is not None and ui.main.state.compared.name == "alike.trace"
        dialog = await open_dialog(ui, "d", CompareScreen)
        await type_in(ui, dialog, "#compare-trace", str(other))
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")


async def test_a_saved_trace_is_compared_with_traces_only(hub_cache: Path, tmp_path: Path) -> None:
    file = write_trace(tmp_path / "seen.trace")
    app = app_on_trace(edge.open_trace(file), FakeModels().open, ("onnx",))
    async with app.run_test(size=(100, 40)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.idle()
        dialog = await open_dialog(ui, "d", CompareScreen)
        assert "another trace only" in note_of(dialog) and not dialog.query("#compare-prompt")
        await type_in(ui, dialog, "#compare-trace", str(file))
        await ui.until(lambda: ui.main.state.compared is not None, "the trace beside")
        await ui.idle()


async def test_before_a_run_there_is_nothing_to_compare() -> None:
    async with running_app() as ui:
        ui.main.shown_view.focus_pane()
        await ui.press("d")
        assert ui.app.screen is ui.main


@pytest.mark.skipif(len(zoo_names()) < 2, reason="the zoo of this checkout has no twins")
def test_bundled_models_can_be_compared_and_another_model_cannot(byte_llama: Path) -> None:
    first, second = zoo_names()[:2]
    assert is_comparable(first, second)
    assert not is_comparable(first, str(byte_llama)), "models of other tokens are offered side by side"


# ---- exporting ----------------------------------------------------------------------------------------------


async def export_dialog(ui: AppDriver, model: Path) -> Dialog:
    """The dialog, reached by way of what is written."""
    ui.main.session.target = ModelOnEngine(str(model), "onnx")
    dialog = await open_dialog(ui, "w", WriteScreen)
    await choose(ui, dialog, "#write-kinds", "model")
    await ui.press("enter")
    await ui.until(lambda: isinstance(ui.app.screen, ExportScreen), "the question whom the export is for")
    return ui.app.screen  # type: ignore[return-value]


async def test_a_model_is_exported_and_its_parity_shown(byte_llama: Path, tmp_path: Path) -> None:
    async with running_app() as ui:
        dialog = await export_dialog(ui, byte_llama)
        await choose(ui, dialog, "#export-tools", "edge")
        await choose(ui, dialog, "#export-precisions", "int8")
        await type_in(ui, dialog, "#export-out", str(tmp_path / "out"))
        header, jobs_reported = ui.main.query_one(HeaderBar), set()
        await ui.until(
            lambda: jobs_reported.add(header.progress) or isinstance(ui.app.screen, ExportedScreen), "the export to end"
        )
        assert len(jobs_reported - {""}) > 2, f"an export of many steps told of these: {jobs_reported}"
        reported = "\n".join(str(line.render()) for line in ui.app.screen.query(Static))
        assert (
            "largest logit difference" in reported
            and "quantization: top-1 agreement is" in reported
            and str(tmp_path / "out") in reported
        ), reported
        assert (tmp_path / "out" / "model.safetensors").is_file()
        await ui.press("escape")


async def test_escape_ends_an_export_and_nothing_is_left(byte_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    async with running_app() as ui:
        dialog = await export_dialog(ui, byte_llama)
        await type_in(ui, dialog, "#export-out", str(folder / "out"))
        await ui.until(lambda: any(folder.iterdir()), "the export to begin writing")
        await ui.press("escape")
        await ui.idle()
        assert list(folder.iterdir()) == [], "an export that was ended left something behind"
        assert ui.app.screen is ui.main


async def test_an_export_writes_over_nothing_of_others(byte_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine", encoding="utf8")
    async with running_app() as ui:
        dialog = await export_dialog(ui, byte_llama)
        await type_in(ui, dialog, "#export-out", str(tmp_path))
        assert ui.app.screen is dialog and "exists" in note_of(dialog), note_of(dialog)
        await ui.press("enter")
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["note.txt"]


async def test_stored_codes_are_exported_in_their_own_precision_only(byte_llama: Path) -> None:
    async with running_app() as ui:
        ui.app.push_screen(dialog := ExportScreen(str(byte_llama), "byte-llama", "", "mixed"))
        await ui.until(lambda: dialog.is_mounted, "the dialog to open")
        await ui.idle()
        precisions = dialog.query_one("#export-precisions", ChoiceList)
        assert [option.id for option in precisions.options] == ["mixed"]
        assert dialog.query_one("#export-out", Field).value.endswith("byte-llama-std-mixed")
        await ui.press("escape")


async def test_an_export_without_its_packages_names_them(byte_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Check(name="export", works=False, detail="torch not installed", fix="pip install 'edge-lens[export]'")
    monkeypatch.setattr("tui.controllers.files.exporter", lambda: lacking)
    async with running_app() as ui:
        dialog = await export_dialog(ui, byte_llama)
        assert "edge-lens[export]" in note_of(dialog)
        await ui.press("enter")
        assert ui.app.screen is dialog, "an export began that cannot work"


# ---- every dialog -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (200, 60)], ids=str)
async def test_dialogs_have_room_and_need_no_color(
    hub_cache: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with running_app(size=size) as ui:
        await ui.run("a king")
        for action in ("open", "compare", "write", "export"):
            await ui.app.run_action(action, ui.main)
            await ui.until(lambda: isinstance(ui.app.screen, Dialog), f"'{action}' to ask")
            dialog = ui.app.screen
            for part in (*dialog.query(ChoiceList), *dialog.query(Field)):
                assert part.content_size.area > 0, f"{action} at {size}: #{part.id} has no room"
                assert dialog.query_one(".frame").region.contains_region(part.region), f"#{part.id} leaves the frame"
            assert ui.app.export_screenshot()
            await ui.press("escape")
