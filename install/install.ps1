# Registers cc-orchestrator with Codex and Claude Code on Windows. UNTESTED: no Windows machine has run this yet.
# The logic is install\register.py, which is tested on Linux; this only makes the virtual environment and calls it.
#   powershell -ExecutionPolicy Bypass -File install\install.ps1 [--client codex|claude] [--dry-run] [--yes] [--uninstall]
$ErrorActionPreference = 'Stop'
$root = Split-Path -Parent $PSScriptRoot
$venv = Join-Path $root '.venv'
$python = Join-Path $venv 'Scripts\python.exe'
if (-not (Get-Command git -ErrorAction SilentlyContinue)) { throw 'git is not on PATH' }
if (-not (Test-Path $python)) {
  $base = @('py', 'python', 'python3') | Where-Object { Get-Command $_ -ErrorAction SilentlyContinue } | Where-Object {
    & $_ -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>$null; $LASTEXITCODE -eq 0
  } | Select-Object -First 1
  if (-not $base) { throw 'no Python 3.10 or newer on PATH' }
  & $base -m venv $venv
  if ($LASTEXITCODE -ne 0) { throw "cannot make $venv" }
}
& $python -m pip install --quiet --disable-pip-version-check -e $root
if ($LASTEXITCODE -ne 0) { throw 'pip could not install cc-orchestrator' }
& $python (Join-Path $PSScriptRoot 'register.py') @args
exit $LASTEXITCODE
