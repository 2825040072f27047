# Development commands: `just` lists them. They use the Python on your PATH; see .github/CONTRIBUTING.md.

default:
    @just --list

# Install mpstui in editable mode, with everything for tests and checks
install:
    pip install -e '.[test,dev]'

# Run the quick tests, or some: just test tests/domain -k alarm
test *arguments:
    pytest {{arguments}}

# Run the slow tests too; they need a C++ compiler and Chromium, and skip without
slow *arguments:
    pytest -m slow {{arguments}}

# Renew the screens' snapshots; look at the difference before you commit it
snapshots:
    pytest tests/ui/test_snapshots.py --snapshot-update

# Format
format:
    ruff format .
    ruff check --fix .

# Check format, lint, types for three systems, and layers
check:
    ruff format --check .
    ruff check .
    mypy --platform linux
    mypy --platform darwin
    mypy --platform win32
    lint-imports

# Run a benchmark: just benchmark startup
benchmark name *arguments:
    python -m tests.benchmarks.{{name}} {{arguments}}

# Resolve every extra for macOS, Windows and Linux aarch64
resolve:
    python -m tests.resolve

# Build the wheel and list its files
wheel:
    pip wheel --no-deps -w dist .
    python -m zipfile -l dist/mpstui-*.whl

# Run everything that CI runs, in a new virtual environment
ci:
    .ci/run
