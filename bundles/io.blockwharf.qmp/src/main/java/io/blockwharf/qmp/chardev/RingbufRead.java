package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Optional;

/** {@code ringbuf-read}: takes the oldest bytes of a ring buffer. */
@Component
@QmpName("ringbuf-read")
public final class RingbufRead implements QmpCommand<RingbufRead.Arguments, String> {
    /** QAPI {@code DataFormat}. */
    public enum Format {
        /** The bytes are UTF-8; what is not becomes U+FFFD. */
        UTF8,
        /** The bytes in base 64. */
        BASE64
    }

    /**
     * The arguments.
     *
     * @param device the chardev's id
     * @param size bytes to take, at most
     * @param format how to show them (default utf8)
     */
    public record Arguments(String device, long size, Optional<Format> format) {}

    private final Chardevs chardevs;

    /** A command on {@code chardevs}. */
    @Activate
    public RingbufRead(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public String execute(Arguments arguments) {
        RingBuffer buffer = chardevs.ringBuffer(arguments.device());
        if (arguments.size() <= 0) {
            throw QmpException.generic("size must be greater than zero");
        }
        byte[] bytes = buffer.read(arguments.size());
        return switch (arguments.format().orElse(Format.UTF8)) {
            case UTF8 -> new String(bytes, StandardCharsets.UTF_8);
            case BASE64 -> Base64.getEncoder().encodeToString(bytes);
        };
    }
}
