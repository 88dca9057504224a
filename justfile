# Short names for plain commands. `just` is optional: every recipe is one line you can type.

# A local cluster of three real nodes
dev *args:
    cargo run --release -- dev {{args}}

# All tests
test:
    cargo test --workspace

# What a change must pass
ci:
    .ci/run

# Format the code
fmt:
    cargo fmt --all

# Lints, as strict as CI
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Simulate whole clusters, one per seed
sim seeds="1..50":
    cargo run --release -p chaos -- sim --seeds {{seeds}}

# Take the power from one store at every call of its disk
crash states="300000" seed="1":
    cargo run --release -p chaos --no-default-features -- crash --states {{states}} --seed {{seed}}

# Flip every byte of a small store, one at a time
flips seed="1":
    cargo run --release -p chaos --no-default-features -- flips --seed {{seed}}

# Change layouts again and again at random, and measure what the planner makes of it
placement histories="30" seed="1":
    nice -n 10 cargo run --release -p chaos --no-default-features -- placement --histories {{histories}} --seed {{seed}}

# Failure detectors alone: all loss and stalls of docs/membership.md, without and with Lifeguard
detector nodes="100" hours="0.1" *args:
    nice -n 10 cargo run --release -p chaos --no-default-features -- detector --table --nodes {{nodes}} --hours {{hours}} {{args}}

# Run one seed again
replay seed:
    cargo run --release -p chaos -- sim --seed {{seed}}

# Break one rule at a time; every break must be noticed
mutants:
    cargo run --release -p chaos --no-default-features --features mutants --target-dir target/mutants -- mutants

# Faults on real processes
live scenario duration="60s" seed="1":
    cargo run --release -p chaos -- live --scenario {{scenario}} --duration {{duration}} --seed {{seed}}

# The standard set against a fresh local cluster: peak, latency at rising shares of it, a page with plots
bench *args:
    cargo run --release -- bench --local --knee --json target/bench.json --html target/bench.html {{args}}

# Failing syncs and SIGKILL in the midst of a real node's system calls (needs strace)
inject points="200" seed="1":
    cargo build --release --workspace && target/release/chaos inject --points {{points}} --seed {{seed}}

# A real node on a disk that fills up and empties again (needs root)
disk-full:
    cargo build --release --workspace && target/release/chaos inject --disk-full

# The store beside fjall, redb, a bare Bitcask and the raw disk (docs/benchmarks.md)
peers *args="compare":
    cargo run --release --manifest-path tests/peers/Cargo.toml --target-dir target/peers -- {{args}}

# How long one operation of each hot part takes
micro *args:
    cargo bench -p micro --bench time -- {{args}}

# How many instructions it takes, beside those last accepted (needs valgrind)
instructions *args:
    cargo bench -p micro --bench instructions -- {{args}}

# The API documentation of the crates
doc:
    cargo doc --workspace --no-deps
