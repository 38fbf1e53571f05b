"""Testing claims as a job: what is reported and when, and what is kept between jobs."""

import pytest
from textual.message import Message

import edge
from edge.lab.claim import Finding
from edge.lab.context import LabContext, max_passage_tokens
from models.checkpoint import open_checkpoint
from models.errors import MisuseError
from models.zoo import zoo_folder, zoo_names
from tests.edge.report.example_lab import made_finding
from tests.tui.example_claims import experiment, passing_claim
from tests.tui.fake_model import FakeModel
from tui.jobs.job import JobContext, JobInterrupted, ModelOnEngine
from tui.jobs.lab import RunClaimTests, read_tokens
from tui.jobs.load import Load
from tui.messages import ClaimsQueued, ClaimTested

REAL = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
ZOO = ModelOnEngine("fable-relu", "onnx")


def context_of(model: edge.Model | FakeModel, reported: list[Message]) -> JobContext:
    context = JobContext(lambda *_: model, reported.append)
    Load(ZOO).work(context)
    return context


@REAL
def test_what_a_model_has_read_is_kept_until_another_is_loaded() -> None:
    subjects: list[LabContext] = []

    def measure(lab: LabContext) -> Finding:
        subjects.append(lab)
        return made_finding()

    with edge.load("fable-relu", "onnx", threads=1) as model:
        context = context_of(model, [])
        for _ in range(2):
            RunClaimTests((experiment("F1", measure),)).work(context)
        Load(ZOO).work(context)
        RunClaimTests((experiment("F1", measure),)).work(context)
        assert subjects[0] is subjects[1] is subjects[2], "the text was read again for the same model"
        Load(ModelOnEngine("fable-relu", "onnx:int4")).work(context)
        assert context.lab is None, "what another engine read is still held"


@REAL
def test_each_claim_is_reported_when_it_is_done_and_a_stopped_one_is_not() -> None:
    reported: list[Message] = []
    with edge.load("fable-relu", "onnx", threads=1) as model:
        context = context_of(model, reported)

        def measure(lab: LabContext) -> Finding:
            context.interrupted.set()  # stopped while the last pass is under way
            return made_finding()

        with pytest.raises(JobInterrupted):
            RunClaimTests((passing_claim("F1"), experiment("F2", measure), passing_claim("F3"))).work(context)
    kinds = [message for message in reported if isinstance(message, ClaimsQueued | ClaimTested)]
    assert [message.keys for message in kinds if isinstance(message, ClaimsQueued)][-1] == ()
    assert [message.result.key for message in kinds if isinstance(message, ClaimTested)] == ["F1"]


def test_only_models_of_edge_are_tried() -> None:
    with pytest.raises(MisuseError, match="open a checkpoint"):
        RunClaimTests((passing_claim("F1"),)).work(context_of(FakeModel(), []))


@REAL
@pytest.mark.parametrize("name", zoo_names())
def test_enough_is_read_for_every_claim_on_the_zoo(name: str) -> None:
    folder = zoo_folder(name)
    assert folder is not None
    spec = open_checkpoint(folder).spec
    assert 2.31 * spec.d_model < read_tokens(spec) <= max_passage_tokens(spec), (
        "F1 needs 2 fitted rows for each feature"
    )
