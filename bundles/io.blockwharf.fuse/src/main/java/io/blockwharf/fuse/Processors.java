package io.blockwharf.fuse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** How the kernel counts processors. */
final class Processors {
    private static final Path POSSIBLE = Path.of("/sys/devices/system/cpu/possible");

    private Processors() {}

    /** One more than the highest number that a processor may ever have; 0 if that is not known. */
    static int possible() {
        try {
            return highest(Files.readString(POSSIBLE)) + 1;
        } catch (IOException e) {
            return 0;
        }
    }

    /** The highest number of a list such as {@code 0-3,8}, -1 if it is not one. */
    static int highest(String list) {
        String[] numbers = list.strip().split("[-,]");
        try {
            return Integer.parseInt(numbers[numbers.length - 1]);
        } catch (NumberFormatException e) {
            return -1;
        }
    }
}
