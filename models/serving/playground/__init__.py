"""The playground: a page on which a GPT is trained, watched and looked into.

`sizes` says what may be chosen, `texts` makes data of a text, `lab` trains in a thread of its own
and answers questions between two steps, `looks` looks inside, `app` is the HTTP interface. The page
itself is in `demos/playground`.
"""
