#!/usr/bin/env bash
# llama.cpp for the tests of our GGUF (tests/release/gguf/test_llama_cpp.py): llama-cpp-python, built from its source
# once and kept in the cache. As small and as fast to build as it can be, for it reads models of a megabyte: the CPU's
# plain code, unoptimised, without llama.cpp's tools and vision. Usage: llama_cpp.sh PYTHON
set -euo pipefail
python="$1"
version=0.3.36
wheels="${XDG_CACHE_HOME:-$HOME/.cache}/clapas/wheels"

if "$python" -c "import llama_cpp, sys; sys.exit(llama_cpp.__version__ != '$version')" 2>/dev/null; then exit 0; fi
if ! compgen -G "$wheels/llama_cpp_python-$version-*.whl" >/dev/null; then
  echo "== Building llama.cpp (about 75 seconds of two idle cores)"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  # pip 23, which comes with Python 3.11, takes most of a minute to unpack this source; a new one ten seconds
  "$python" -m pip install --quiet --disable-pip-version-check --target "$work/pip" 'pip>=25'
  # a variable of CMake's goes before the cached one that llama-cpp-python forces
  echo 'set(LLAMA_BUILD_COMMON OFF)' > "$work/minimal.cmake"
  cmake=(-DCMAKE_PROJECT_INCLUDE="$work/minimal.cmake" -DLLAVA_BUILD=OFF
    -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O0
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_LLAMAFILE=OFF -DGGML_CPU_REPACK=OFF
    -DGGML_SSE42=OFF -DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_BMI2=OFF -DGGML_FMA=OFF -DGGML_F16C=OFF)
  # without pip's own cache, where others would find this slow build
  CMAKE_ARGS="${cmake[*]}" PYTHONPATH="$work/pip" "$python" -m pip wheel --quiet --disable-pip-version-check \
    --no-deps --no-cache-dir --no-binary llama-cpp-python --wheel-dir "$work/wheels" "llama-cpp-python==$version"
  mkdir -p "$wheels"
  mv "$work"/wheels/*.whl "$wheels/"
fi
"$python" -m pip install --quiet --disable-pip-version-check "$wheels"/llama_cpp_python-"$version"-*.whl
