"""PyTorch as these tests need it."""

import importlib.util

if importlib.util.find_spec("torch"):
    import torch.library

    # torchvision's compiled part fits only one build of PyTorch; nothing here calls it, but
    # transformers imports torchvision wherever it is installed
    torch.library.register_fake = lambda *args, **named: lambda function: function
