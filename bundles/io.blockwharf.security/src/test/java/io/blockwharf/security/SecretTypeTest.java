package io.blockwharf.security;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.Secret;
import io.blockwharf.testing.FakeObjects;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** The object type secret; values and texts are those of qemu-storage-daemon 7.2. */
class SecretTypeTest {
    private static final String KEY = "12345678901234567890123456789012";
    private static final String IV = "MTIzNDU2Nzg5MDEyMzQ1Ng==";

    @TempDir Path directory;
    private final FakeObjects objects = new FakeObjects();

    private Secret secret(String format, String keyid, String iv, String data, String file) {
        return (Secret)
                new SecretType(objects)
                        .create(
                                "s",
                                new SecretType.Properties(
                                        Optional.empty(),
                                        Optional.ofNullable(format).map(SecretType.Format::valueOf),
                                        Optional.ofNullable(keyid),
                                        Optional.ofNullable(iv),
                                        Optional.ofNullable(data),
                                        Optional.ofNullable(file)));
    }

    private void assertText(String expected, Secret secret) {
        assertEquals(expected, new String(secret.bytes(), StandardCharsets.UTF_8));
    }

    /** The last two: {@code printf … | openssl enc -aes-256-cbc -a -K … -iv …}. */
    @ParameterizedTest
    @CsvSource({
        "RAW, , , geheim, geheim",
        ", , , grün, grün",
        "BASE64, , , Z2VoZWlt, geheim",
        "BASE64, , , YQ, a",
        "BASE64, , , '', ''",
        "BASE64, key, " + IV + ", obitvQCEcbVIYUdfHn5LEQ==, geheim",
        "BASE64, key, " + IV + ", '', ''",
    })
    void fromData(String format, String key, String iv, String data, String expected) {
        objects.with("key", (Secret) () -> KEY.getBytes(StandardCharsets.US_ASCII));
        assertText(expected, secret(format, key, iv, data, null));
    }

    @Test
    void fromAFileByteForByte() throws Exception {
        Path file = directory.resolve("f");
        byte[] bytes = {0, 1, (byte) 0xff, '\n'};
        Files.write(file, bytes);
        Secret secret = secret(null, null, null, null, file.toString());
        assertArrayEquals(bytes, secret.bytes());
        secret.bytes()[0] = 7;
        assertArrayEquals(bytes, secret.bytes());
    }

    @ParameterizedTest(name = "{5}")
    @CsvSource({
        ", , , , , Either 'file' or 'data' must be provided",
        ", , , a, b, 'file' and 'data' are mutually exclusive",
        ", , , , /nonexistent, Unable to read /nonexistent: Failed to open file “/nonexistent”: No"
                + " such file or directory",
        "BASE64, , , a!, , Base64 data contains invalid characters",
        ", nix, , a, , No secret with id 'nix'",
        ", list, , a, , Object with id 'list' is not a secret",
        ", short, " + IV + ", a, , Key should be 32 bytes in length",
        ", key, , a, , IV is required to decrypt secret",
        ", key, YQ==, a, , IV should be 16 bytes in length not 1",
        ", key, '!', a, , Base64 data contains invalid characters",
        ", key, " + IV + ", a, , Length 1 must be a multiple of block size 16",
        "BASE64, key, "
                + IV
                + ", "
                + IV
                + ", , Incorrect number of padding bytes (234) found on decrypted data",
    })
    void refusals(String format, String key, String iv, String data, String file, String expected) {
        objects.with("key", (Secret) () -> KEY.getBytes(StandardCharsets.US_ASCII))
                .with("short", (Secret) () -> new byte[31])
                .with("list", "something else");
        QmpException e =
                assertThrows(QmpException.class, () -> secret(format, key, iv, data, file));
        assertEquals(expected, e.getMessage());
    }

    @Test
    void textIsUtf8() {
        objects.with("good", (Secret) () -> "grün".getBytes(StandardCharsets.UTF_8))
                .with("bad", (Secret) () -> new byte[] {(byte) 0xff});
        assertEquals("grün", new String(Secret.findText(objects, "good")));
        QmpException e = assertThrows(QmpException.class, () -> Secret.findText(objects, "bad"));
        assertEquals("Data from secret bad is not valid UTF-8", e.getMessage());
    }
}
