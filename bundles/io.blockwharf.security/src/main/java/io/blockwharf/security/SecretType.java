package io.blockwharf.security;

import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.Secret;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import java.util.Base64;
import java.util.Optional;
import java.util.regex.Pattern;

import javax.crypto.Cipher;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * The object type {@code secret}: a password or key, given in plain or encrypted with another
 * secret. Read when the object is made. Texts of errors as in QEMU's crypto/secret.c.
 */
@Component
@ObjectTypeName("secret")
public final class SecretType implements ObjectType<SecretType.Properties> {
    /** QAPI {@code QCryptoSecretFormat}. */
    public enum Format {
        /** The bytes themselves; in {@code data}, of UTF-8. */
        RAW,
        /** Base64. */
        BASE64
    }

    /**
     * QAPI {@code SecretProperties}.
     *
     * @param loaded without effect, as in QEMU
     * @param format how the data is written (default raw)
     * @param keyid id of the secret of 32 bytes that it is encrypted with, by AES-256-CBC
     * @param iv the initialization vector for that, 16 bytes in Base64
     * @param data the secret; visible in the list of processes, so only for tests or encrypted
     * @param file the file that holds it
     */
    public record Properties(
            Optional<Boolean> loaded,
            Optional<Format> format,
            Optional<String> keyid,
            Optional<String> iv,
            Optional<String> data,
            Optional<String> file) {}

    private static final int KEY_BYTES = 32;
    private static final int BLOCK_BYTES = 16;

    /** Longer files are something else. */
    private static final long MAX_FILE_BYTES = 1 << 20;

    private static final Pattern BASE64 = Pattern.compile("[A-Za-z0-9+/=\n]*");

    private final ObjectStore objects;

    /** Finds the keys of encrypted secrets there. */
    @Activate
    public SecretType(@Reference ObjectStore objects) {
        this.objects = objects;
    }

    @Override
    public Object create(String id, Properties properties) {
        byte[] input = load(properties);
        boolean base64 = properties.format().orElse(Format.RAW) == Format.BASE64;
        byte[] decoded = base64 ? decode(new String(input, StandardCharsets.ISO_8859_1)) : input;
        byte[] secret =
                properties
                        .keyid()
                        .map(key -> decrypt(decoded, key, properties.iv()))
                        .orElse(decoded);
        Secret object = secret::clone;
        return object;
    }

    @Override
    public Properties complete(Properties given) {
        return new Properties(
                given.loaded(),
                given.format().or(() -> Optional.of(Format.RAW)),
                given.keyid(),
                given.iv(),
                given.data(),
                given.file());
    }

    private static byte[] load(Properties properties) {
        if (properties.file().isEmpty()) {
            return properties
                    .data()
                    .map(data -> data.getBytes(StandardCharsets.UTF_8))
                    .orElseThrow(
                            () -> QmpException.generic("Either 'file' or 'data' must be provided"));
        } else if (properties.data().isPresent()) {
            throw QmpException.generic("'file' and 'data' are mutually exclusive");
        }
        Path file = Path.of(properties.file().get());
        try {
            if (Files.size(file) > MAX_FILE_BYTES) {
                throw QmpException.generic("Unable to read %s: File too large", file);
            }
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new QmpException(
                    "Unable to read %1$s: Failed to open file “%1$s”: No such file or directory"
                            .formatted(file),
                    e);
        } catch (IOException e) {
            throw new QmpException("Unable to read %s: %s".formatted(file, e.getMessage()), e);
        }
    }

    private static byte[] decode(String text) {
        try {
            if (BASE64.matcher(text).matches()) {
                return Base64.getMimeDecoder().decode(text);
            }
        } catch (IllegalArgumentException e) {
            // padding in the wrong place
        }
        throw QmpException.generic("Base64 data contains invalid characters");
    }

    private byte[] decrypt(byte[] input, String keyId, Optional<String> ivText) {
        byte[] key = Secret.find(objects, keyId).bytes();
        if (key.length != KEY_BYTES) {
            throw QmpException.generic("Key should be %d bytes in length", KEY_BYTES);
        }
        byte[] iv =
                decode(
                        ivText.orElseThrow(
                                () -> QmpException.generic("IV is required to decrypt secret")));
        if (iv.length != BLOCK_BYTES) {
            throw QmpException.generic(
                    "IV should be %d bytes in length not %d", BLOCK_BYTES, iv.length);
        }
        if (input.length % BLOCK_BYTES != 0) {
            throw QmpException.generic(
                    "Length %d must be a multiple of block size %d", input.length, BLOCK_BYTES);
        }
        if (input.length == 0) {
            return input;
        }
        byte[] plain;
        try {
            Cipher aes = Cipher.getInstance("AES/CBC/NoPadding");
            aes.init(Cipher.DECRYPT_MODE, new SecretKeySpec(key, "AES"), new IvParameterSpec(iv));
            plain = aes.doFinal(input);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e); // every JDK has it, and the lengths are right
        }
        int padding = Byte.toUnsignedInt(plain[plain.length - 1]);
        if (padding > BLOCK_BYTES) {
            throw QmpException.generic(
                    "Incorrect number of padding bytes (%d) found on decrypted data", padding);
        }
        return Arrays.copyOf(plain, plain.length - padding);
    }
}
