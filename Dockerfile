# docker build -t mammoseg .
# docker run --rm --gpus all --shm-size 2g --user $(id -u):$(id -g) -v $PWD:/workspace mammoseg train experiment=demo
# Without a GPU, omit --gpus all. Outputs are written to the current folder, which is mounted at /workspace.
FROM debian:bookworm-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /src
COPY . .
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir -c constraints.txt '.[codecs,export,tensorboard,joblib]'

WORKDIR /workspace
ENTRYPOINT ["mammoseg"]
CMD ["--help"]
