"""Programs for the interpreters of other routers' environments: `python FILE FOLDER` answers the job in a folder.

`job.json` holds the candidates, the texts to learn from and to route, each training text's best candidate (`best`, a
column), four columns of rising quality and cost (`tiers`), the one of the best single candidate (`single`), and how
many texts to time. `train.npy` and `test.npy` hold MiniLM's unit vectors, `quality.npy` the training outcomes (n, m).
`answer.json` gets a column for each test text (`choice`), the win rate of the last candidate where there are two
(`score`, null where the router has none), the milliseconds of each timed text, and what was run (`about`).
"""
