package io.blockwharf.linux;

/** The process's standard input, output and error output, descriptors 0, 1 and 2. */
public final class StandardStreams {
    private StandardStreams() {}

    /** Whether standard input is a terminal. */
    public static boolean isTerminal() {
        return Libc.isatty(0) == 1;
    }

    /**
     * Whether the daemon was started in the background, where nobody is at the other end of
     * standard input and output: {@code bin/blockwharf} sets this property then.
     */
    public static boolean areNobodys() {
        return System.getProperty("blockwharf.ready") != null;
    }

    /** Lets go of what the parent process gave: reads find the end, what is written is dropped. */
    public static void detach() throws LinuxException {
        int nothing = Descriptor.open("/dev/null", Libc.O_RDWR, 0);
        if (nothing < 0) {
            throw new LinuxException("Failed to open /dev/null", -nothing);
        }
        try (Descriptor opened = new Descriptor(nothing)) {
            for (int stream = 0; stream <= 2; stream++) {
                LinuxException.check(Libc.dup2(opened.fd(), stream), "dup2");
            }
        }
    }
}
