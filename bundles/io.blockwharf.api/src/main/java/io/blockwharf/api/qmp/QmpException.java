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
    private final String hint;

    /** An error of a class. */
    public QmpException(ErrorClass errorClass, String description) {
        this(errorClass, description, "", null);
    }

    /** A GenericError with its cause. */
    public QmpException(String description, Throwable cause) {
        this(ErrorClass.GENERIC_ERROR, description, "", cause);
    }

    private QmpException(ErrorClass errorClass, String description, String hint, Throwable cause) {
        super(description, cause);
        this.errorClass = errorClass;
        this.hint = hint;
    }

    /** A GenericError; the arguments are put in as by {@link String#format}. */
    public static QmpException generic(String format, Object... arguments) {
        return new QmpException(
                ErrorClass.GENERIC_ERROR, String.format(Locale.ROOT, format, arguments));
    }

    /** The same error with advice for people, a sentence. */
    public QmpException withHint(String advice) {
        QmpException same = new QmpException(errorClass, getMessage(), advice, getCause());
        same.setStackTrace(getStackTrace());
        return same;
    }

    /**
     * Advice that is no part of the error: the command line prints it on a line of its own, QMP
     * does not send it. Empty if there is none.
     */
    public String hint() {
        return hint;
    }

    /** The class. */
    public ErrorClass errorClass() {
        return errorClass;
    }
}
