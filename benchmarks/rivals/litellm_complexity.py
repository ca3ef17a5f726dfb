"""LiteLLM's complexity router as its proxy runs it: rules, or `heuristic_v2`, choose one of four tiers of models."""

import asyncio
import os
import sys
import warnings

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
warnings.simplefilter("ignore")

import job  # noqa: E402
from litellm import Router  # noqa: E402

TIERS = ("SIMPLE", "MEDIUM", "COMPLEX", "REASONING")


def main(kind: str) -> None:
    """Route every test text through the hook that the proxy calls before it picks a deployment."""
    folder, asked = job.read()
    names = [f"m{column}" for column in range(len(asked["candidates"]))]
    known = [{"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": "none"}} for name in names]
    tiers = {tier: names[column] for tier, column in zip(TIERS, asked["tiers"], strict=True)}
    smart = {
        "model": "auto_router/complexity_router",
        "complexity_router_config": {"tiers": tiers, "classifier_type": kind},
        "complexity_router_default_model": names[asked["single"]],
    }
    router = Router(model_list=[*known, {"model_name": "smart", "litellm_params": smart}])
    strategy = router.complexity_routers["smart"][0].strategy

    async def choose(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        return str((await strategy.async_pre_routing_hook(model="smart", request_kwargs={}, messages=messages)).model)

    loop = asyncio.new_event_loop()
    choice = [names.index(loop.run_until_complete(choose(text))) for text in asked["test"]]
    spent = job.timed(lambda text: loop.run_until_complete(choose(text)), asked["test"][: asked["timed"]])
    loop.close()
    job.write(folder, choice, None, spent, "litellm")


if __name__ == "__main__":
    main(sys.argv[2])
