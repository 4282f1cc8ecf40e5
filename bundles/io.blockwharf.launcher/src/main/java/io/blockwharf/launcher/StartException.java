package io.blockwharf.launcher;

/** The daemon cannot start. The message is a finished sentence for the terminal. */
final class StartException extends RuntimeException {
    StartException(String format, Object... args) {
        super(String.format(format, args));
    }
}
