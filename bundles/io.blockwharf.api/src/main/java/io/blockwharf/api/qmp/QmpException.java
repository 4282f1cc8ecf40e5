package io.blockwharf.api.qmp;

import java.util.Locale;

/**
 * A command failed: a class for machines, a sentence for people. Thrown with the finished sentence;
 * caught by the front ends only. qmp-spec, "Error".
 */
public final class QmpException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** QAPI {@code QapiErrorClass}. */
    public enum ErrorClass {
        /** Most errors. */
        GENERIC_ERROR("GenericError"),
        /** There is no such command, or it may not be used now. */
        COMMAND_NOT_FOUND("CommandNotFound"),
        /** The device has not been activated. */
        DEVICE_NOT_ACTIVE("DeviceNotActive"),
        /** There is no such device. */
        DEVICE_NOT_FOUND("DeviceNotFound"),
        /** The accelerator lacks a capability. */
        KVM_MISSING_CAP("KVMMissingCap");

        private final String wireName;

        ErrorClass(String wireName) {
            this.wireName = wireName;
        }

        /** The name on the wire. */
        public String wireName() {
            return wireName;
        }
    }

    private final ErrorClass errorClass;

    /** An error of a class. */
    public QmpException(ErrorClass errorClass, String description) {
        super(description);
        this.errorClass = errorClass;
    }

    /** A GenericError with its cause. */
    public QmpException(String description, Throwable cause) {
        super(description, cause);
        this.errorClass = ErrorClass.GENERIC_ERROR;
    }

    /** A GenericError; the arguments are put in as by {@link String#format}. */
    public static QmpException generic(String format, Object... arguments) {
        return new QmpException(
                ErrorClass.GENERIC_ERROR, String.format(Locale.ROOT, format, arguments));
    }

    /** The class. */
    public ErrorClass errorClass() {
        return errorClass;
    }
}
