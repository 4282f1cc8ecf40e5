package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * Bytes that are not for everybody: what a {@code secret} object is to those who are told its id.
 * May be called from any thread.
 */
@ConsumerType
public interface Secret {
    /** The bytes, as a copy. */
    byte[] bytes();

    /**
     * The secret of that id, whose holder may be deleted afterwards.
     *
     * @throws QmpException if there is none, or the object is something else
     */
    static Secret find(ObjectStore objects, String id) {
        if (!objects.exists(id)) {
            throw QmpException.generic("No secret with id '%s'", id);
        }
        return objects.find(id, Secret.class)
                .orElseThrow(() -> QmpException.generic("Object with id '%s' is not a secret", id));
    }

    /**
     * The text of the secret of that id: a password.
     *
     * @throws QmpException as {@link #find}, or if it is no UTF-8
     */
    static char[] findText(ObjectStore objects, String id) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(find(objects, id).bytes()))
                    .toString()
                    .toCharArray();
        } catch (CharacterCodingException e) {
            throw new QmpException("Data from secret %s is not valid UTF-8".formatted(id), e);
        }
    }
}
