# One image for the service, the worker and the migration: docker-compose.yml says which it is.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements/build.txt requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
COPY pyproject.toml LICENSE README.md ./
COPY jobengine/ jobengine/
COPY sql/engine/ sql/engine/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY requirements/runtime.txt requirements/
RUN pip install --no-cache-dir --require-hashes --requirement requirements/runtime.txt
COPY --from=build /wheels/ /wheels/
RUN pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
COPY api/ api/
COPY sql/platform/ sql/platform/
RUN useradd --system --uid 10001 --no-create-home jobengine
USER jobengine
CMD ["jobengine", "--help"]
