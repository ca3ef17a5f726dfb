"""The kNN router of LLMRouter, re-expressed: scikit-learn's classifier, as it comes, of each query's best model.

LLMRouter labels a training query with the model of the highest performance and hands `KNeighborsClassifier` the
embeddings (its Longformer's; here MiniLM's, as for all others).
"""

import job
import numpy as np
from sklearn.neighbors import KNeighborsClassifier


def main() -> None:
    """Fit and route every test text."""
    folder, asked = job.read()
    model = job.minilm()
    learner = KNeighborsClassifier().fit(job.vectors(folder, "train"), asked["best"])
    test = job.vectors(folder, "test")
    last = len(asked["candidates"]) - 1
    shares = learner.predict_proba(test)
    score = shares[:, list(learner.classes_).index(last)] if last in learner.classes_ else np.zeros(len(test))

    def route(text: str) -> object:
        return learner.predict(model.encode([text], normalize_embeddings=True, show_progress_bar=False))

    spent = job.timed(route, asked["test"][: asked["timed"]])
    job.write(folder, learner.predict(test), score if last == 1 else None, spent, "scikit-learn", "torch")


if __name__ == "__main__":
    main()
