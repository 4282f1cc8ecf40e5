package io.blockwharf.nbd.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import io.blockwharf.api.block.Errno;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** proto.md, "Error values". */
class NbdErrorTest {
    @ParameterizedTest
    @CsvSource({
        "EPERM, 1",
        "EROFS, 1",
        "EACCES, 1",
        "EIO, 5",
        "ENXIO, 5",
        "ETIMEDOUT, 5",
        "ENOMEM, 12",
        "EINVAL, 22",
        "ENOSPC, 28",
        "EDQUOT, 28",
        "EFBIG, 28",
        "ENOTSUP, 95",
        "ESHUTDOWN, 108"
    })
    void numbers(Errno errno, int number) {
        assertEquals(number, NbdError.of(errno).number());
    }

    @ParameterizedTest
    @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "OK")
    void everyFailureHasOne(Errno errno) {
        assertNotNull(NbdError.of(errno));
    }
}
