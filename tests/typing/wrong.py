"""What a type checker is to refuse: mypy finds an error in each line that says which, and no other.

Nobody runs this file.
"""

import microtensor as mt

mt.exp("one")  # type: ignore[arg-type]
mt.nn.Linear("2", 3)  # type: ignore[arg-type]
mt.nn.Linear(2, 3, biased=True)  # type: ignore[call-arg]
mt.ones(2).no_such_method()  # type: ignore[attr-defined]
mt.softmax(mt.ones(2), dimension=0)  # type: ignore[call-arg]
mt.optim.SGD()  # type: ignore[call-arg]
print(mt.no_such_name)  # type: ignore[attr-defined]
