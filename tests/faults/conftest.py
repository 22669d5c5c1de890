"""What the fault test takes: how many kills, and from which seed they are drawn."""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=12, help="how many processes are killed (default: 12)")
    parser.addoption("--seed", type=int, default=1, help="of the draw of victims and moments (default: 1)")
