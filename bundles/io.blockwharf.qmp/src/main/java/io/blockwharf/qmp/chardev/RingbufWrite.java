package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Optional;

/** {@code ringbuf-write}: adds to a ring buffer. */
@Component
@QmpName("ringbuf-write")
public final class RingbufWrite implements QmpCommand<RingbufWrite.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param device the chardev's id
     * @param data the bytes
     * @param format how {@code data} shows them (default utf8)
     */
    public record Arguments(String device, String data, Optional<RingbufRead.Format> format) {}

    private final Chardevs chardevs;

    /** A command on {@code chardevs}. */
    @Activate
    public RingbufWrite(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        RingBuffer buffer = chardevs.ringBuffer(arguments.device());
        byte[] bytes =
                switch (arguments.format().orElse(RingbufRead.Format.UTF8)) {
                    case UTF8 -> arguments.data().getBytes(StandardCharsets.UTF_8);
                    case BASE64 -> base64(arguments.data());
                };
        buffer.write(bytes, 0, bytes.length);
        return Nothing.NOTHING;
    }

    private static byte[] base64(String text) {
        try {
            return Base64.getDecoder().decode(text);
        } catch (IllegalArgumentException e) {
            throw new QmpException("Base64 data contains invalid characters", e);
        }
    }
}
