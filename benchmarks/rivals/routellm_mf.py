"""RouteLLM's matrix factorisation, re-expressed: w . (v(model) * W prompt), trained on who beats whom.

Ong et al. 2024, section 4.2: model vectors of unit length, one linear projection of the prompt's embedding, logistic
loss of the difference of two models' scores on the pairs whose outcome differs. RouteLLM embeds by OpenAI's
text-embedding-3-small, which needs an account; here MiniLM serves, as for all others. Noise is added to the prompt's
vector as in its training code, against learning prompts by heart.
"""

import job
import numpy as np
import torch

WIDTH, EPOCHS, BATCH, RATE, DECAY, NOISE = 128, 30, 512, 3e-3, 1e-4, 0.1


class Factors(torch.nn.Module):
    """The score of every model for a prompt."""

    def __init__(self, models: int, width: int) -> None:
        super().__init__()
        self.models = torch.nn.Embedding(models, WIDTH)
        self.prompt = torch.nn.Linear(width, WIDTH, bias=False)
        self.out = torch.nn.Linear(WIDTH, 1, bias=False)

    def forward(self, prompt: torch.Tensor) -> torch.Tensor:
        """Return scores (n, models)."""
        unit = torch.nn.functional.normalize(self.models.weight, dim=1)
        return (self.prompt(prompt) * self.out.weight[0]) @ unit.T


def main() -> None:
    """Train on all pairs of models and route every test text to the highest score."""
    folder, asked = job.read()
    encoder = job.minilm()
    torch.manual_seed(0)
    quality = torch.tensor(job.vectors(folder, "quality"), dtype=torch.float32)
    prompts = torch.tensor(job.vectors(folder, "train"))
    factors = Factors(quality.shape[1], prompts.shape[1])
    optimiser = torch.optim.AdamW(factors.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(prompts)).split(BATCH):
            score = factors(prompts[rows] + NOISE * torch.randn_like(prompts[rows]) / prompts.shape[1] ** 0.5)
            lead = quality[rows].unsqueeze(2) - quality[rows].unsqueeze(1)
            behind = score.unsqueeze(2) - score.unsqueeze(1)
            loss = (lead.clamp(min=0) * torch.nn.functional.softplus(-behind)).sum() / lead.clamp(min=0).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    with torch.inference_mode():
        scores = factors(torch.tensor(job.vectors(folder, "test"))).numpy()

        def route(text: str) -> object:
            vector = encoder.encode([text], normalize_embeddings=True, show_progress_bar=False)
            return int(np.argmax(factors(torch.tensor(vector)).numpy()))

        spent = job.timed(route, asked["test"][: asked["timed"]])
    win = scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else None
    job.write(folder, scores.argmax(axis=1), win, spent, "torch", "sentence-transformers")


if __name__ == "__main__":
    main()
