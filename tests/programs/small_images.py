"""Small images: a convolutional classifier, an autoencoder with noise, a network with batch norm
and shortcuts, and the loops and schedules that go with them."""

import collections

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.conv2 = nn.Conv2d(4, 8, 3, 1)
        self.dropout1 = nn.Dropout(0.0)
        self.dropout2 = nn.Dropout2d(0.0)
        self.fc1 = nn.Linear(8 * 4 * 4, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = torch.flatten(self.dropout2(x), 1)
        x = F.relu(self.fc1(x), inplace=True)
        return F.log_softmax(self.fc2(self.dropout1(x)), dim=1)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            collections.OrderedDict(
                conv=nn.Conv2d(1, 4, kernel_size=3, padding=1), act=nn.Sigmoid(),
                pool=nn.AvgPool2d(kernel_size=2, stride=2),
            )
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x):
        return self.head(self.features(x))


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding="same", bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(planes),
            )

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(BasicBlock(1, 4), BasicBlock(4, 8, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        return self.fc(torch.flatten(self.avgpool(self.layers(x)), 1))


class VAE(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(144, 20), nn.Linear(20, 4), nn.Linear(20, 4)
        self.fc3, self.fc4 = nn.Linear(4, 20), nn.Linear(20, 144)
        self.noise = noise

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        eps = eps * 0 + self.noise.type_as(std)  # the same in every library
        return eps.mul(std).add_(mu)

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 144))
        z = self.reparameterize(mu, logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


def vae_loss(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 144), reduction="sum")
    return BCE - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def settle(model, rng):
    state = model.state_dict()
    for name, value in state.items():
        if value.is_floating_point() and "running" not in name:
            state[name] = torch.as_tensor(rng.normal(0, 0.2, tuple(value.shape)), dtype=value.dtype)
    model.load_state_dict(state)


def test(model, loader):
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            test_loss += F.nll_loss(F.log_softmax(output, 1), target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    model.train()
    return [test_loss / len(loader.dataset), correct / len(loader.dataset)]


def run(rng):
    torch.manual_seed(1)
    images = torch.tensor(rng.random((40, 1, 12, 12)), dtype=torch.get_default_dtype())
    labels = torch.tensor(rng.integers(0, 10, 40))
    whole = TensorDataset(images, labels)
    parts = random_split(whole, [0.75, 0.25], generator=torch.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [30, 10]
    train, held = Subset(whole, range(32)), Subset(whole, list(range(32, 40)))
    loader = DataLoader(train, batch_size=8, pin_memory=True)
    held_loader = DataLoader(held, batch_size=5, shuffle=False, drop_last=False)
    numbers = []
    settings = [
        (Net(), lambda p: optim.Adadelta(p, lr=1.0), lambda o: StepLR(o, step_size=1, gamma=0.7)),
        (LeNet(), lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
         lambda o: MultiStepLR(o, [1, 2], 0.5)),
        (ResNet(), lambda p: optim.Adam(p, lr=1e-2, weight_decay=1e-4),
         lambda o: CosineAnnealingLR(o, T_max=4)),
        (ResNet().double(), lambda p: optim.NAdam(p, lr=1e-2),
         lambda o: ReduceLROnPlateau(o, mode="min", factor=0.1, patience=0)),
    ]  # fmt: skip
    for model, make, schedule in settings:
        double = next(model.parameters()).dtype == torch.float64
        model(images[:1].double() if double else images[:1])
        settle(model, rng)
        optimizer = make(model.parameters())
        scheduler = schedule(optimizer)
        for _epoch in range(2):
            for data, target in loader:
                data = data.double() if double else data
                optimizer.zero_grad()
                loss = F.cross_entropy(model(data), target)
                loss.backward()
                optimizer.step()
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(loss.item())
            else:
                scheduler.step()
            numbers += [loss.item(), optimizer.param_groups[0]["lr"]]
            print(f"Train [{len(loader.dataset)}]\tLoss: {loss.item():.4f}")
        numbers += test(model, held_loader) if not double else []
    names = [n for n, _ in model.named_parameters()] + [n for n, _ in model.named_buffers()]
    print(len(names), names[:4], model.layers[1].bn1, sep="\n")
    model = VAE(torch.from_numpy(rng.normal(size=(8, 4))))
    settle(model, rng)
    optimizer = optim.Adamax(model.parameters(), lr=1e-2)
    for data, _ in loader:
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        loss = vae_loss(recon, data, mu, logvar)
        loss.backward()
        optimizer.step()
        numbers.append(loss.item() / len(data))
    return numbers
