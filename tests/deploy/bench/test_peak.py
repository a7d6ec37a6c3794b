from __future__ import annotations

import numpy as np
import pytest

from hptl_deploy.bench import peak
from hptl_deploy.bench.peak import MatrixProduct
from hptl_deploy.engines.machine import count_cards
from hptl_deploy.errors import EnvironmentLacks


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("int8", 0.0)])
def test_it_is_a_whole_product_in_that_precision(
    precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "_SIDES", {"cpu": 96})
    left, right = (peak._numbers(precision, "cpu", 96, seed) for seed in (1, 2))
    assert left.dtype == {"fp32": np.float32, "int8": np.uint8}[precision]
    with MatrixProduct(precision, "cpu") as product:
        assert product.operations == 2 * 96**3
        assert product.seconds() > 0
        (found,) = product._binding.copy_outputs_to_cpu()
    expected = left.astype(np.float64) @ right.astype(np.float64)
    assert found.dtype == {"fp32": np.float32, "int8": np.int32}[precision]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.skipif(count_cards() > 0, reason="this machine has a card")
def test_a_card_that_is_not_there() -> None:
    with pytest.raises(EnvironmentLacks, match="cuda:0 has no fp16 matrix product"):
        MatrixProduct("fp16", "cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(count_cards() == 0, reason="needs an NVIDIA card")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_card_is_faster_than_a_processor(precision: str) -> None:
    with MatrixProduct(precision, "cuda:0") as card, MatrixProduct("fp32", "cpu") as processor:
        rates = [one.operations / min(one.seconds() for _ in range(3)) for one in (card, processor)]
    assert rates[0] > rates[1]
