"""Programs that answer over HTTP: language models, by OpenAI's interface, and the playground.

loading.py     models by name, from any checkpoint, published folder, int8 file or adapter
batching.py    what a model computes for texts that join and leave
engine.py      the thread that gives every text its next token, in turn
requests.py    what a client may ask for, checked
answers.py     what it gets: texts, tokens and their probabilities
app.py         the routes, the streams, and errors in OpenAI's form
program.py     the server as a program, which stops within two seconds
playground/    a page in the browser, where one trains a model
"""
